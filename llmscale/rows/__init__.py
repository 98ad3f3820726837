"""From files to rows: `sources` finds the lines, `rows` reads them, `survey` looks ahead once."""
