"""`python -m llmscale`"""

from llmscale.cli import main

main()
