"""Numbers about rows: IFD in both definitions, perplexity, embeddings, plug-ins, a judge.

Read ``run.py`` first; it calls the rest in order. What needs torch is imported when it is used.
"""
