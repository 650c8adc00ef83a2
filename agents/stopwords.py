"""Words that say nothing about a topic: English function words, and the furniture of documentation."""

# ruff: noqa: SIM905 - a list of words reads better as text

from typing import Final

#: Function words. A topic made of nothing else is still searched, by all its words.
FUNCTION_WORDS: Final = frozenset(
    """
    a about above after again against all almost along already also although always am among an and another any anyone
    anything are aren around as at away back be became because become becomes been before behind being below between
    beyond both but by can cannot could couldn did didn do does doesn doing don done down due during each either else
    enough especially etc even ever every everything except far few first for from further get gets given gives go goes
    going got had hadn has hasn have haven having he hence her here hers herself him himself his how however i if in
    indeed instead into is isn it its itself just keep kept last later least less let like likely ll long made mainly
    make makes making many may maybe me mean means might more most mostly much must my myself near nearly need needed
    needs neither never no none nor not nothing now of off often on once one only onto or other others otherwise our
    ours ourselves out over own per perhaps please put quite rather re really s said same say says second see seem
    seems several shall she should shouldn since so some somehow someone something sometimes somewhat soon still such
    t take taken takes than that the their theirs them themselves then there thereby therefore these they thing things
    this those though three through throughout thus to together too toward towards two under unless until up upon us
    use used useful uses using usually ve very via want was wasn way ways we well went were weren what whatever when
    whenever where whereas wherever whether which while who whoever whole whom whose why will with within without won
    would wouldn yes yet you your yours yourself
    """.split()
)

#: Words that every page of documentation has: they may be searched for, but they make no sub-question.
FURNITURE: Final = frozenset(
    """
    able add added additional allow allowed allows api apply arg args argument arguments attribute attributes available
    based bool boolean call called caller calling calls case cases chapter check class classes code common contain
    contains correspond corresponding create created creates creating current currently custom default defaults define
    defined defines depend depending deprecated describe described description detail details determine different
    directly doc docs document documentation documented element ensure equal example examples exist existing exists
    expect expected false field figure file files find float follow following follows format full func function
    functions general give handle handled helper implement implementation implemented implements import include
    included includes including indicate indicates info information initial input inputs instance instances int
    integer internal item items itself keyword know known kwargs list lists main method methods mode module multiple
    name named names new note notes null number numbers object objects obtain one option optional options order
    original output outputs page param parameter parameters parameterized part pass passed path please point possible
    present previous previously provide provided provides purpose python raise raised raises read reason refer
    reference related relevant represent represents require required result results return returned returning returns
    row rows run running runs section self set sets setting settings show shown simple simply single size small
    specific specified specifies specify start started starting starts str string strings subclass subclasses support
    supported supports table take text throw todo true try tuple type types typically user users usage util utility
    amount approach aspect base choice condition count effect end fact form group idea kind level line manner matter means
    moment name need part place point problem question reasons respect result section side sort special state step sure term
    terms thing time times top total type understanding usage way word words change changes changed begin begins hold holds
    bring brings leave leaves left come comes came ask asks tell tells say says seen look looks high higher higher low lower
    good better best bad great large larger small smaller short long longer new old open close closed full empty
    achieve accept actual add allow become behavior behaviour determine either entire explicit internal external final
    implicit initialization int iteration logic own overall perform potential proper recommended respective responsible
    separate situation subsequent suitable underlying unique whole ones day days year years people
    consecutive maximum minimum max min outside inside manual automatic normal usual certain main typical common rest remaining
    valid value values variable variables various version void want work working works write written
    """.split()
)
