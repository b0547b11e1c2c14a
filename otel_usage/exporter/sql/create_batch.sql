-- Working table of one turn, grain: one readable journal line, in the order of files and lines (rowid).
-- {columns} are those of `requests`, in their order.
CREATE OR REPLACE TEMP TABLE batch ({columns})
