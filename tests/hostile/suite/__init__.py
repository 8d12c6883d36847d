"""The hostile suite: a table of attacks, oracles that look from outside, and a player for every tier.

`case` says what a case is; the tables are in `walks`, `code`, `bridge`, `wire`, `resources`, `floods`,
`files`, `network`, `processes`, `system` and `tenants`. `world` plants what an attack could find or break,
`oracles` tells what was found or broken, `tiers` makes the sandboxes, `play` plays cases of one tier in a
process of its own, and `table` starts such processes and counts.
"""
