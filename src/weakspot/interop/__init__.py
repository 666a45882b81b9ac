"""Files of the two published tools: spotlight results and UDIS cluster trees, read (and trees written) as they are.

Inference results of the published Spotlight tool are predictions, so their reader, and the safe reader of pickles that
both need, lie below, in `weakspot.predictions.spotlight_inference` and `weakspot.predictions.pickles`.
"""
