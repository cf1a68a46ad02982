"""dictionary_learning's ReLU SAE with an L1 penalty."""

from dictionary_learning.trainers import StandardTrainer

from benchmark.adapters.dictionary_learning import DictionaryMethod


class DictionaryLearningReLUL1(DictionaryMethod):
    trainer = StandardTrainer
