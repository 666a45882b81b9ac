"""Files of the two published tools: Spotlight results are read, UDIS cluster trees are read and written.

The Spotlight tool's inference results are predictions, so their reader and the safe pickle reader that both need are in
`weakspot.predictions.spotlight_inference` and `weakspot.predictions.pickles`.
"""
