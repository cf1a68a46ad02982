"""Forms of regular and irregular English nouns and verbs."""

from __future__ import annotations

_PLURALS = {
    "mouse": "mice", "goose": "geese", "sheep": "sheep", "trout": "trout", "fish": "fish", "leaf": "leaves",
    "loaf": "loaves", "knife": "knives", "calf": "calves", "thief": "thieves", "bass": "bass", "lobster": "lobsters",
    "foreman": "foremen", "signalman": "signalmen", "boatman": "boatmen", "luggage": "luggage", "scarf": "scarves",
}  # fmt: skip
_PASTS = {
    "lend": "lent", "ring": "rang", "rise": "rose", "swing": "swung", "begin": "began", "fit": "fitted",
    "tear": "tore", "tip": "tipped", "spin": "spun", "skip": "skipped", "stand": "stood", "fall": "fell",
    "dip": "dipped", "grow": "grew", "snap": "snapped", "stop": "stopped", "flap": "flapped", "drag": "dragged",
    "hum": "hummed", "rot": "rotted", "burn": "burned", "drop": "dropped", "teach": "taught", "blow": "blew",
    "break": "broke", "bind": "bound", "pay": "paid", "hold": "held", "cut": "cut", "set": "set", "split": "split",
    "strike": "struck", "throw": "threw", "drip": "dripped", "sink": "sank", "swim": "swam", "write": "wrote",
    "bend": "bent", "sweat": "sweated", "sag": "sagged", "whir": "whirred", "dig": "dug", "nod": "nodded",
    "win": "won", "lose": "lost", "eat": "ate", "sing": "sang", "shrink": "shrank", "overflow": "overflowed",
    "freeze": "froze", "run": "ran", "read": "read", "feed": "fed", "shear": "sheared", "ride": "rode",
    "breed": "bred", "catch": "caught", "leave": "left", "shake": "shook", "build": "built", "spread": "spread",
    "hurt": "hurt", "swell": "swelled", "fight": "fought", "stab": "stabbed", "throb": "throbbed", "spawn": "spawned",
    "sit": "sat", "sleep": "slept", "say": "said", "tell": "told", "know": "knew", "see": "saw", "find": "found",
    "bring": "brought", "keep": "kept", "hide": "hid", "take": "took", "hear": "heard", "forget": "forgot",
    "think": "thought", "feel": "felt", "go": "went", "come": "came", "speak": "spoke", "hold on": "held on",
    "tar": "tarred", "chip": "chipped", "rig": "rigged", "row": "rowed", "chop": "chopped", "stir": "stirred",
    "trim": "trimmed", "map": "mapped", "clap": "clapped", "plead": "pleaded", "admit": "admitted",
    "transfer": "transferred", "acquit": "acquitted", "pen": "penned", "dive": "dived", "shine": "shone",
    "light": "lit", "sow": "sowed", "mow": "mowed", "jam": "jammed", "abdicate": "abdicated", "flop": "flopped",
    "kneel": "knelt", "weld": "welded", "spoil": "spoiled", "travel": "travelled", "signal": "signalled",
    "level": "levelled", "swivel": "swivelled", "deter": "deterred", "drown": "drowned", "buy": "bought",
    "get": "got", "jog": "jogged", "plan": "planned", "hop": "hopped", "dart": "darted", "lie": "lay",
    "enter": "entered", "wave": "waved", "coin": "coined",
}  # fmt: skip
_VOWELS = "aeiou"


def plural(noun: str) -> str:
    """The plural of a noun."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


def third_person(verb: str) -> str:
    """The third person singular, present tense."""
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ies"
    return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")


def past(verb: str) -> str:
    """The past tense."""
    if verb in _PASTS:
        return _PASTS[verb]
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ied"
    return verb + ("d" if verb.endswith("e") else "ed")


def article(word: str) -> str:
    """The indefinite article before a word."""
    return "an" if word[0] in _VOWELS else "a"
