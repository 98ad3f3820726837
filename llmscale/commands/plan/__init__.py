"""`llmscale plan`: a go/no-go checklist. Required checks, advice, and the run that they look at."""
