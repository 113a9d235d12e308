"""Programs that leak and programs that don't, under noise: who is alarmed, how soon, and whom the alarm names."""
