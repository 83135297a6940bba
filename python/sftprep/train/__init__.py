"""A thin trainer for packed shards; read ``loop.py`` first, it calls the rest in order.

Needs the extra ``train`` (torch and transformers); nothing of it is imported before it is used.
"""
