"""What can be done with a trained model: answers, and a mean of two. Needs the extra ``train``."""
