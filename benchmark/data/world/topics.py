"""Words of each topic. Verbs and nouns stand in their base form; order is rank, the most frequent first.

`do` are verbs that people of the topic do to its things; `act` and `happen` are what its people and its things do by
themselves.
"""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """Word lists of one topic, most frequent first."""

    people: str
    animals: str
    things: str
    places: str
    do: str
    act: str
    happen: str
    adjectives: str


TOPICS: dict[str, Topic] = {
    "money": Topic(
        "banker clerk broker investor cashier auditor lender trader accountant treasurer",
        "pigeon canary sparrow",
        "loan coin budget account price debt invoice ledger contract receipt wallet salary fund voucher safe fee",
        "office market vault exchange counter treasury",
        "count sign approve audit collect borrow compare refuse transfer calculate",
        "save invest gamble bargain",
        "grow shrink expire double drop vary",
        "costly cheap annual private overdue modest secret profitable fair thin",
    ),
    "river": Topic(
        "fisher ranger boatman swimmer guide hiker diver surveyor camper warden",
        "heron trout otter beaver duck frog",
        "canoe paddle reed pebble raft stone rapid pool dam lure ripple island waterfall boulder willow stick",
        "valley shore ford meadow marsh canyon",
        "cross follow explore map dredge paddle photograph watch protect measure",
        "swim wade fish camp",
        "drift freeze glitter overflow vanish widen",
        "muddy shallow deep swift clear wild mossy gentle winding cold",
    ),
    "music": Topic(
        "singer drummer composer pianist violinist listener guitarist flautist tenor choirmaster",
        "nightingale lark cricket",
        "song violin melody piano rhythm guitar chorus concert flute string verse tune lyric anthem cello harp",
        "hall studio festival conservatory bandstand choir",
        "sing compose tune practise hum arrange perform rehearse admire repeat",
        "sing improvise rehearse clap",
        "echo resonate soar swell linger fade",
        "loud soft slow lively sad tuneful harsh sweet famous rhythmic",
    ),
    "sport": Topic(
        "player runner referee captain fan striker goalkeeper boxer swimmer trainer",
        "greyhound stallion falcon",
        "ball race trophy medal team league jersey helmet whistle racket penalty sprint tournament glove hurdle puck",
        "stadium gym arena field locker grandstand",
        "kick throw win lose defend tackle chase block train cheer",
        "run jump train compete",
        "bounce finish begin continue stop spin",
        "fast strong tired sweaty athletic unfair tough proud slow young",
    ),
    "kitchen": Topic(
        "cook chef baker waiter guest butcher grocer diner host dishwasher",
        "lobster hen mouse",
        "pan soup onion knife oven loaf spoon sauce cake pepper bowl recipe apple kettle butter tomato",
        "kitchen pantry cellar restaurant bakery stall",
        "chop stir taste bake boil slice serve wash peel season",
        "eat dine cook toast",
        "simmer burn cool rise boil steam",
        "hot salty fresh spicy bitter crisp ripe tasty greasy warm",
    ),
    "sea": Topic(
        "sailor captain pirate mate whaler pilot steward lookout stowaway admiral",
        "whale gull shark dolphin crab",
        "boat sail wave tide rope lighthouse cabin compass oar storm cargo harpoon buoy lantern cannon rudder",
        "harbour beach dock island lagoon reef",
        "steer load moor sight row rig navigate repair board salvage",
        "sail swim drown row",
        "sink float roll crash drift surge",
        "salty stormy distant rough calm wet grey foggy endless blue",
    ),
    "law": Topic(
        "judge lawyer witness juror prisoner thief officer bailiff plaintiff notary",
        "bloodhound magpie raven",
        "law crime verdict statute appeal oath warrant jury testimony contract "
        "alibi fine petition hearing clause motive",
        "courthouse prison station chamber cell parliament",
        "accuse question defend arrest charge sentence convict acquit obey prosecute",
        "testify confess object plead",
        "fail stand apply end matter lapse",
        "guilty innocent legal strict solemn formal criminal false binding just",
    ),
    "garden": Topic(
        "gardener florist botanist neighbour landscaper beekeeper planter visitor forester caretaker",
        "bee butterfly hedgehog snail robin worm",
        "flower tree seed rose hedge lawn weed spade shrub petal fence basket stem tulip orchard thorn",
        "garden greenhouse park shed terrace pond",
        "water prune dig trim rake pick mow fertilize sow weed",
        "dig rest kneel garden",
        "bloom wither sprout grow spread ripen",
        "green leafy fragrant shady wild colourful thorny dry tall damp",
    ),
    "stage": Topic(
        "actor director dancer usher critic writer costumer prompter comedian magician",
        "parrot poodle monkey",
        "scene curtain costume role script mask spotlight ticket rehearsal audience "
        "prop comedy tragedy encore wig poster",
        "theatre balcony foyer dressing-room backstage opera",
        "applaud rehearse direct stage review praise interrupt design light announce",
        "dance bow rehearse whisper",
        "begin glow end open shine close",
        "dramatic funny tragic dazzling dark boring velvet brilliant comic grand",
    ),
    "school": Topic(
        "teacher pupil student principal librarian tutor scholar professor parent monitor",
        "hamster goldfish rabbit",
        "book lesson desk pencil exam essay map question answer notebook chapter poem library bell grade blackboard",
        "classroom library playground corridor cafeteria campus",
        "read write teach learn study explain mark solve copy memorize",
        "study listen learn daydream",
        "begin end change help drag finish",
        "clever easy difficult curious absent long quiet lazy bright neat",
    ),
    "medicine": Topic(
        "doctor nurse patient surgeon midwife dentist pharmacist paramedic specialist orderly",
        "leech rat flea",
        "pill fever wound bandage needle cough vaccine bone symptom syringe heart lung rash remedy muscle scan",
        "hospital clinic pharmacy surgery ambulance laboratory",
        "treat cure examine heal inject bandage diagnose weigh nurse admit",
        "recover faint sneeze cough",
        "heal spread hurt swell worsen improve",
        "sick healthy painful sterile pale weak contagious dizzy severe sore",
    ),
    "workshop": Topic(
        "mechanic carpenter welder engineer plumber apprentice electrician blacksmith inventor foreman",
        "termite spider moth",
        "hammer engine saw wheel pipe motor wire screw chisel lathe toolbox cable gear pump ladder valve",
        "workshop factory garage forge warehouse yard",
        "fix build weld hammer polish assemble tighten measure paint sharpen",
        "work tinker weld whistle",
        "break rust turn jam rattle leak",
        "rusty heavy metal sharp noisy broken electric oily wooden sturdy",
    ),
    "farm": Topic(
        "farmer shepherd milkmaid rider miller vet harvester stablehand butcher drover",
        "cow sheep horse dog goat pig goose",
        "tractor barn plough hay egg bucket harvest wheat saddle milk gate cart grain trough scarecrow haystack",
        "farm stable field pasture barnyard mill",
        "feed milk shear harvest plough ride herd brush breed gather",
        "work ride rest whistle",
        "grow rot sway spoil ripen creak",
        "fat hungry rural dusty golden woolly gentle stubborn early fertile",
    ),
    "rail": Topic(
        "driver passenger porter traveller inspector engineer commuter tourist signalman stoker",
        "terrier kitten stray",
        "train ticket suitcase carriage timetable engine whistle seat tunnel wagon "
        "luggage window locomotive lamp bench rail",
        "station platform depot junction yard crossing",
        "board miss catch clean inspect signal delay unload carry stamp",
        "travel wait hurry doze",
        "arrive leave stop brake shake derail",
        "late crowded empty slow express punctual steel narrow smoky northern",
    ),
}
