"""The table of proposals, `proposals.parquet`: which product types go with a type, and which replace it.

A row is directed: who has an item of `category` may need one of `other` (complement), or takes one of `other` instead
(substitute). A product type is a whole category path.
"""

from __future__ import annotations

import pyarrow as pa

from mmsc_cli.tables.table import ArtefactTable

PROPOSAL_SCHEMA = pa.schema(
    [
        pa.field("category", pa.list_(pa.string()), nullable=False),
        pa.field("other", pa.list_(pa.string()), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
    ]
)
_TABLE = ArtefactTable(PROPOSAL_SCHEMA, "a table of proposals", "mmsc label --propose")
read_proposals, write_proposals = _TABLE.read, _TABLE.write
