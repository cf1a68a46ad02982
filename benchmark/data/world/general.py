"""Words that every topic shares: names, towns, adverbs, times, and what anybody or anything may do."""

from __future__ import annotations

WOMEN = (
    "Anna Clara Greta Iris Lena Nora Paula Rosa Tessa Vera Ada Bella Celia Dora Edith Flora Hanna Irma Julia Karin "
    "Laura Maria Nadia Olga Petra Ruth Sonia Thea Ulla Wanda Yvonne Zelda Agnes Beatrix Carmen Daphne Elena Fiona "
    "Gloria Helga"
)
MEN = (
    "Bruno David Hugo Jonas Marco Oscar Peter Simon Victor Walter Albert Boris Conrad Dominic Edgar Felix Gustav "
    "Henry Ivan Jasper Karl Leo Martin Nils Otto Paul Quentin Robert Stefan Theo Ulrich Vincent Wilhelm Xavier Yuri "
    "Arthur Bernard Cedric Dennis Ernest"
)
TOWNS = (
    "Marlow Tarnby Ostend Lindau Corvey Dalton Elmira Fenwick Granada Holmby Ithaca Jutland Kelso Lorne Melrose Norby "
    "Oakham Perth Quimper Ripon Selby Tivoli Umbria Varna Whitby Yarrow"
)
ADVERBS = "slowly again often quietly soon today rarely together early suddenly always twice never carefully badly"
TIMES = (
    "In the morning|At noon|On Monday|After a while|Before long|In the evening|On Friday|That night|At last|"
    "In the spring|Every day|On Sunday|After the storm|At first|During the winter"
)
BEFORE_NOUN = "near behind beside with from under opposite above"
WHERE = "near behind beside in at outside"
PEOPLE_ADJECTIVES = (
    "old young tired happy busy kind proud quiet careful angry patient honest friendly famous rich poor brave polite "
    "nervous wise"
)
ADJECTIVES = "old new small large good bad strange plain fine ordinary"
PEOPLE_ACT = "wait smile leave arrive pause nod sit rest laugh sleep talk worry"
ANIMALS_ACT = "sleep run wait hide move rest eat drink"
THINGS_HAPPEN = "remain matter move change appear disappear"
PLACES_HAPPEN = "open close fill change"
ANYBODY_DOES = "see find bring keep take want need like hold forget"
SPEAK = "say answer reply add whisper explain"
ASK = "ask wonder"
NUMBERS = "two three four five six seven eight nine ten twelve"
CODE_VERBS = "get set add find check count print update remove sort"
CODE_FIELDS = "size count price name weight age state index"
GREETINGS = "Yours|With love|Kind regards|Your friend|Sincerely"
