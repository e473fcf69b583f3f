"""A work in shares: functions from files to files, which processes here, a scheduler or Ray call.

A share i/n is a top-level function that reads files and writes numbered parts, each atomically and none that is there
already. So whoever calls it, and however often, the parts are the same; the stage joins them once all are there.
`runner` is what a stage sees; the other modules are the runners.
"""
