"""Words whose sense depends on the topic: in either topic the same form, with verbs that only that sense takes."""

from __future__ import annotations

from typing import NamedTuple


class Sense(NamedTuple):
    """One sense of an ambiguous noun. `number` counts senses from 1 over all words."""

    word: str
    topic: str
    verbs: tuple[str, ...]
    number: int


_WORDS = """
bank: money lend close; river flood erode
note: money mature circulate; music ring fade
bark: garden peel crack; farm startle echo
pitch: sport dry flood; music rise waver
bat: sport swing splinter; garden squeak flutter
court: law rule adjourn; sport empty dry
case: law proceed collapse; rail open bulge
trial: law begin resume; medicine recruit succeed
suit: law settle drag; stage fit tear
bar: music repeat modulate; kitchen melt crumble
scale: music ascend descend; kitchen tip weigh
key: music clash modulate; workshop turn fit
organ: music boom thunder; medicine fail heal
drum: music thud roll; workshop leak dent
record: music spin skip; sport stand fall
bow: music glide tremble; sea dip plunge
horn: music blare sound; farm curl grow
band: music perform tour; workshop stretch snap
score: music demand flow; sport change level
play: stage open close; sport stop restart
cast: stage rehearse bow; medicine harden itch
wing: stage darken empty; farm flap fold
set: stage collapse glow; sport end drag
plot: stage thicken twist; garden sprout drain
bed: garden bloom dry; medicine creak tilt
plant: garden wilt flower; workshop hum expand
bulb: garden sprout rot; workshop flicker burn
leaf: garden curl fall; school yellow tear
branch: garden sway snap; money prosper relocate
spring: river bubble gush; workshop rebound stretch
current: river pull swirl; workshop surge drop
bridge: river arch sag; sea gleam darken
mouth: river widen silt; medicine open swell
crane: river wade nest; workshop hoist swivel
school: school teach close; sea dart scatter
draft: school improve ramble; workshop chill blow
ruler: school measure break; law reign abdicate
term: school begin drag; law bind expire
sentence: school ramble end; law punish deter
figure: money double mislead; stage dance vanish
bond: money mature pay; workshop harden hold
share: money climb plunge; farm cut blunt
deposit: money earn vanish; river settle thicken
check: money clear bounce; medicine reveal reassure
mint: money stamp coin; kitchen refresh wilt
stock: money soar plummet; kitchen simmer thicken
bill: money arrive mount; farm peck snap
roll: kitchen crisp cool; school list shrink
plate: kitchen steam shatter; workshop rust bend
fork: kitchen gleam stab; rail divide split
date: kitchen sweeten dry; law approach pass
jam: kitchen set spoil; rail clear worsen
batter: kitchen thicken rise; sport strike swing
pitcher: kitchen pour drip; sport throw aim
port: sea bustle prosper; kitchen age mellow
match: sport end continue; kitchen flare ignite
net: sport sag shake; sea fill tangle
coach: sport shout encourage; rail rattle jolt
track: music play skip; rail curve buckle
conductor: music wave nod; rail check shout
tie: sport continue end; rail rot splinter
calf: farm graze moo; medicine cramp ache
pen: farm enclose protect; school leak write
litter: farm whimper nurse; river float pollute
mole: garden burrow dig; medicine darken itch
palm: garden sway grow; medicine sweat tingle
vessel: sea sail sink; medicine narrow burst
ward: medicine fill quieten; law inherit appeal
nail: workshop bend hold; medicine grow chip
file: workshop scrape smooth; law prove list
drill: workshop whir bore; school begin alarm
seal: sea dive bask; law crack certify
log: sea list record; garden rot smoulder
bass: music rumble throb; river swim spawn
chest: medicine ache heave; sea lock glitter
"""


def _parse() -> dict[str, dict[str, Sense]]:
    found: dict[str, dict[str, Sense]] = {}
    number = 0
    for line in _WORDS.strip().splitlines():
        word, _, rest = line.partition(": ")
        found[word] = {}
        for part in rest.split("; "):
            number += 1
            topic, *verbs = part.split()
            found[word][topic] = Sense(word, topic, tuple(verbs), number)
    return found


SENSES = _parse()
"""Ambiguous word -> topic -> sense."""
