"""NullGap: does an interpretability method say more about a trained network than about a random one?"""
