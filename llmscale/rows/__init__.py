"""From files to rows: `sources` finds the lines, `rows` reads them, `precheck` looks ahead once."""
