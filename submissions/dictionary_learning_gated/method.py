"""dictionary_learning's Gated SAE."""

from dictionary_learning.trainers import GatedSAETrainer

from benchmark.adapters.dictionary_learning import DictionaryMethod


class DictionaryLearningGated(DictionaryMethod):
    trainer = GatedSAETrainer
