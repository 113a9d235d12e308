"""Floor 4: what memory there is, what is in use, and what can be given back.

Each module stands alone: `readings` the frozen values, `procfs` and `cgroup` where the kernel tells them,
`limit` the effective limit, `meters`, `peaks` and `probe` the readings, `allocator` the heaps inside the
process, `features` what this kernel offers. Sizing by them is `memflow.sizing`.
"""
