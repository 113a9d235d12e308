"""How much at once: learning what work costs, choosing sizes, letting batches start.

`optimizer` is the face (`BatchOptimizer`); `cost` and `timing` learn, `policy` and `concurrency` choose, `call` decides
when, `admission` keeps the ledger of reservations. Everything but `optimizer`,
`learning`, `anchor` and `wrapping` is pure.
"""
