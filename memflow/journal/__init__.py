"""Floor 5: what was finished, kept across a crash; and the flight recorder, which tells what was going on at one.

`base` holds the values and the Protocol, `keys` turns keys into digests and `done` holds what is finished (both pure);
`codec` says which results are stored, `sqlite` and `memory` are the two journals, `writer` the thread that commits in
groups. `flight` writes the record of a run that is alive, `flight_reader` reads it, `autopsy` says what it means. What
a run does with either is `memflow.processing`'s.
"""
