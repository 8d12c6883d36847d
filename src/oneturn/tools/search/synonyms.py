"""Words that mean the same in the names and descriptions of tools.

General vocabulary of programming interfaces and of everyday matters they serve, a group a line; a word
may stand in several. It says only what a dictionary would, never what one catalog happens to call things.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

_GROUPS = """
get fetch retrieve read load show display view list lookup obtain
list enumerate browse
create add new make insert register
generate produce build compose create
delete remove destroy erase drop clear purge
update edit change modify set patch alter adjust revise
rename change
send post publish submit deliver share
notify alert remind
search find query lookup discover explore seek browse
run execute start launch trigger invoke perform
stop cancel abort terminate end halt kill
enable activate allow
disable deactivate block
calculate compute evaluate determine
convert transform translate change
compare difference versus
analyze analyse examine inspect evaluate assess
summarize summary overview
recommend suggest advise advice recommendation suggestion
book reserve reservation booking
buy purchase order shop shopping pay payment
sell sale
download export save
upload import attach
copy duplicate clone
move transfer
connect link attach join
improve enhance optimize optimization
verify validate check confirm
write compose draft
play listen watch stream
draw plot chart graph diagram visualize
learn study education course lesson teach
identifier id
configuration config settings option preference
environment env
application app
database db
repository repo
directory folder
file document attachment
page website site web
url link
email mail message
message text chat
phone telephone mobile
calendar event appointment meeting
reminder todo note
task issue ticket
error bug problem failure
code program script
log history
kind type category
information info detail data
amount quantity number total count sum
average mean
maximum max biggest largest highest
minimum min smallest lowest
user person people member account
customer client
employee staff worker
company business corporation firm organization organisation
login signin authenticate auth
picture image photo photograph
video clip
song music track audio
book novel
article paper publication
news headline
weather temperature forecast climate rain
location place city address
map direction route navigation
flight plane airline
trip travel journey vacation holiday tour
hotel accommodation lodging room
restaurant dining dine
food meal dish recipe cook diet
house home property apartment
rent rental lease
car vehicle automobile
job career employment
doctor physician health medical
money finance financial
price cost fee
product item goods
comment reply review feedback
"""


def alternatives(terms_of: Callable[[str], Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    """For each term that has any, the terms that mean the same, in a fixed order."""
    alike: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for line in _GROUPS.strip().splitlines():
        group = terms_of(line)
        for term in group:
            alike[term].update((other, None) for other in group if other != term)
    return {term: tuple(others) for term, others in alike.items()}
