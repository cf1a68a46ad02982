"""dictionary_learning's BatchTopK SAE."""

from dictionary_learning.trainers import BatchTopKTrainer

from benchmark.adapters.dictionary_learning import DictionaryMethod


class DictionaryLearningBatchTopK(DictionaryMethod):
    trainer = BatchTopKTrainer
