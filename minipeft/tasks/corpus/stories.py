"""Stories: a few invented people who reappear, want something, meet a problem, and learn from it."""

from .template import RULES, writer_of

RULES |= {
    # --- sentences that any story may use: a is the hero, b the friend, c somebody else ---
    "when": (
        "one {weather} {daytime}",
        "one day",
        "on {weekday} {daytime}",
        "last {season}",
        "early one {weekday}",
        "at {clock}",
        "on {date}",
        "in {month}",
        "the next {weekday}",
        "one evening in {month}",
        "{few} years ago",
        "after breakfast",
        "shortly before {clock}",
        "on a {weather} day in {season}",
    ),
    "weather_line": (
        "it was a {weather} {daytime}[ in {month}].",
        "the {daytime} was {weather} and {weather}.",
        "there was {sky} [all over {t}].",
        "outside, the {sky} had started again.",
        "the sky was {colour}.",
        "although it was {season}, the air was {weather}.",
        "the weather was {weather}, but nobody minded.",
        "it had been {weather} for {few} days.",
    ),
    "mood": (
        "{a} was {very} {glad}.",
        "{a} felt {glad}.",
        "this made {a} {very} {glad}.",
        "{b} was {glad} too.",
        "{a} smiled {how}.",
        "nobody was more {glad} than {a}.",
        "for the first time in {few} days, {a} felt {glad}.",
    ),
    "gloom": (
        "{a} was {very} {sad}.",
        "{a} felt {sad}.",
        "this made {a} {sad} and {sad}.",
        "{a} did not know what to do.",
        "{a} sat down on a {furniture} and sighed.",
        "{a} had never been so {sad} in {a.his} life.",
        "{a} was not {sad}, only {sad}.",
        "{a} shook {a.his} head {how}.",
    ),
    "opening": (
        "{a} was a {kind} {a.job} who lived in {t=town}[ with {a.his} {p=pet}].",
        (
            "in the town of {t=town} there lived a {a.job} called {a}. {a.he} was {very} {kind} but {often}"
            " {sad}."
        ),
        (
            "{a} and {b} lived in {t=town}, in a {colour} house near the {town_place}. {a} was a {a.job}; {b}"
            " was a {b.job}."
        ),
        "{when}, {a} came to {t=town} to {errand}.",
        "everybody in {t=town} knew {a}, the {look} {a.job}.",
        "{a} had worked as a {a.job} in {t=town} for {few} years.",
        "when {a} was {few} years old, {a.his} family moved to {t=town}, a {size} town on the {river}.",
        "{a} and {a.his} {relative} {b} ran a {size} {shop} in {t=town}.",
        "{a}, who was a {a.job}, liked nothing better than to {hobby}. {a.he} lived in {t=town}.",
    ),
    "ending": (
        "{a} learned that {lesson}.",
        '"you see," said {b}, "{lesson}."',
        "from that day on, {a} and {b} were friends.",
        "people in {t} still tell the story.",
        "in the end, {a} went home and slept well.",
        "{a} never forgot what {b} had done for {a.him}.",
        "that evening they {activity:past} together and laughed about it.",
        "since then, {a} has {often} remembered that {lesson}.",
        "and that is how {a} met {b}.",
        '"next time," said {a}, "I will be more {kind}."',
        "after that, {a} was a different person.",
        "nobody was ever {more} than {a} again.",
        "{b} only smiled and said that {lesson}.",
    ),
    "said": (
        "said",
        "answered",
        "replied",
        "whispered",
        "called",
        "explained",
        "shouted",
        "murmured",
        "added",
    ),
    "and_then": (
        "then {a.he} {activity:past}.",
        "after that, {a} {activity:past} and {activity:past}.",
        "{a} wanted to {activity}, but {problem}.",
        "while {a} was {activity:ing}, {b} {activity:past}.",
        "{a} had just {activity:participle} when {b} came in.",
        "instead of {activity:ing}, {a} {activity:past}.",
        "before {activity:ing}, {a} had to {activity}.",
        "{a} never {activity:past} without {b}.",
        "{a} did not {activity}, because {problem}.",
        "{a} asked {b} to {activity}.",
        "{a} stopped at the {town_place} and looked around.",
        "on the way, {a} saw {few} {animal:plural} near the {tree}.",
    ),
    # --- the stories ---
    "lost_story": (
        (
            "{opening} {when}, {a} lost a {x=treasure}. {gloom} {a} looked in the {room}, behind the"
            " {furniture} and under the {furniture}, but the {x} was not there. {and_then} [{weather_line}]"
            ' {a.he} asked {b}, who was a {b.job}. "have you seen my {x}?" {a} asked. ({found}|{not_found})'
            " {ending}"
        ),
    ),
    "found": (
        (
            '"(I think|maybe|yes,) it is in the {y=room}," {said} {b}. {a} went to the {y}, and there was the'
            " {x}, (behind|under|beside) the {furniture}. {mood}"
        ),
        (
            '{b} opened a {colour} box, and in it lay the {x}. "I found it {where}," {said} {b}. "I did not'
            ' know it was yours." {mood}'
        ),
        (
            '"no," {said} {b}, "but let us look together." they looked for {few} hours. at last, {b} found'
            " the {x} {where}. {mood}"
        ),
    ),
    "not_found": (
        (
            '"no, I have not," {said} {b}, "but {c} saw a {animal} with something shiny." so they followed'
            " the {animal} to an old {tree}. the {x} was not there either. {gloom} {few} days later, {c}"
            " brought the {x} back. a child had found it {where}."
        ),
        "nobody had seen the {x}. {gloom} so {b} gave {a} a new one, made of {material}. {mood}",
    ),
    "where": (
        "under a {tree}",
        "in the {town_place}",
        "near the {building}",
        "{area}",
        "in an old {building}",
        "beside the road",
        "at the bottom of a {size} box",
        "on a {furniture} in the {room}",
        "between two {plant}",
    ),
    "plant": ("{flower:plural}", "{tree:plural}", "{vegetable:plural}"),
    "trip_story": (
        (
            "{when}, {a} and {b} decided to travel from {t=town} to {u=town}. {b} wanted to {errand}; {a}"
            " only wanted to {activity}. they (took|chose) the {v=vehicle} because {reason}. [{weather_line}]"
            " {mishap} {gloom} ({c}, a {kind} {c.job}, (stopped and helped them|came along and gave them"
            ' {staple} and {drink}).|so they walked for {few} miles and [{how}] sang old songs.|"{lesson},"'
            " {said} {b}, and they waited {how}.) they (reached|arrived in) {u} at {clock}, {few} hours late."
            " [there they {activity:past}.] {mood} {ending}"
        ),
    ),
    "reason": (
        "it was cheaper",
        "it was {more} than the {vehicle}",
        "the {vehicle} had broken down",
        "the road was blocked",
        "{b} was afraid of {animal:plural}",
        "the weather was {weather}",
        "they had a lot of time",
        "{a} had no money left",
    ),
    "mishap": (
        "after {few} miles, the {v} stopped.",
        "halfway, {travel_problem}.",
        "near {town}, {a} noticed that {travel_problem}.",
        "at the river {river}, they found that {travel_problem}.",
        "they had hardly left when {travel_problem}.",
        "everything went well until {travel_problem}.",
        "because of {sky}, the {v} could not go on.",
    ),
    "help_story": (
        (
            "{opening} {when}, {problem}[, and {problem}]. {gloom} {c} the {c.job} only laughed and"
            ' {activity:past}. but {b}, {who}, came at once. "{offer}" {said} {b}. together they'
            ' {activity:past} until {clock}. {and_then} {mood} "how can I thank you?" asked {a}. "(just|one'
            ' day you can) {activity} with me," {said} {b}. {repay} {ending}'
        ),
    ),
    "who": (
        "who was {very} {kind}",
        "the {b.job} from {town}",
        "whose {relative} had once worked with {a}",
        "who lived {area}",
        "a {look} {b.job} with {few} {animal:plural}",
        "who could {hobby}",
    ),
    "offer": (
        "do not worry,",
        "I have a {tool} and plenty of time,",
        "let me help you,",
        "we can do it together,",
        "that is not so bad,",
        "leave it to me,",
        "I know what to do,",
        "give me the {tool},",
    ),
    "repay": (
        "so {when}, when {b} was ill with {illness}, {a} brought {b.him} {dish:plural} and {drink}.",
        "{few} weeks later, {b} needed a {tool}, and {a} lent {b.him} one.",
        "and so they did.",
        "{a} baked {b.him} a {fruit} cake.",
        "{a} never forgot it, and {b.his} children never had to pay for {staple}.",
    ),
    "fable": (
        (
            "once upon a time, a {x=animal} and a {y=animal} lived in the same {h=habitat}. the {x} was"
            " {very} {kind}, but the {y} was {kind} and {kind}. every {season}, the {x} gathered"
            ' {animal_food}, while the {y} (slept|sang|played) under a {tree}. "why do you work so hard?"'
            ' asked the {y}. "because {season} will be {weather}," {said} the {x}. {when}, {storm_came} the'
            " {y} had nothing to eat and was {very} {sad}. (the {x} shared everything with the {y}.|the {x}"
            ' was {sad}, but opened the door.|"may I come in?" asked the {y}. "of course," {said} the {x}.)'
            " [from then on they worked side by side.] the {y} understood that {lesson}."
        ),
        (
            'a {x=animal} was walking through the {h=habitat} when it met a {y=animal}. "I am {more} than'
            ' you," {said} the {x}. "let us see," {said} the {y}. so they agreed to race to the {tree} at the'
            " end of the {h}. the {x} (was so sure of itself that it stopped to eat some"
            " {animal_food}|laughed and lay down in the grass|ran as fast as it could, but fell into a hole)."
            " the {y} went on {how}. when the {x} (looked up|woke up), the {y} was already there. all the"
            " other animals cheered, even the {animal:plural} and the {animal:plural}. the {x} learned that"
            " {lesson}."
        ),
        (
            "a {size} {x=animal} was caught in a net. it called for help, but the {y=animal} and the"
            ' {z=animal} were too {sad} to come. then a {colour} {m=pet} passed by. "you are too small to'
            ' help," {said} the {x} {how}. the {m} said nothing and bit through the net. the {x} was free. "I'
            ' was wrong," {said} the {x}. "{lesson}."'
        ),
    ),
    "storm_came": (
        "a {storm} came.",
        "the first {sky} fell.",
        "the river froze.",
        "a long {storm} began, and",
        "winter came, and",
    ),
    "wish_story": (
        (
            "{opening} {a} had always wanted (a {x=instrument}|to own a {x=pet}|a {colour} {x=vehicle}). but"
            " a {x} cost {hundreds} pounds, and {a} had only {few}. so {a.he} began to save. every {weekday},"
            " {a.he} {activity:past} for {b}, (who paid {a.him} {price}|for which {b} gave {a.him} {price})."
            " {and_then} (after {few} months|by {month}), {a} counted the money: there was enough. {twist}"
            " {ending}"
        ),
    ),
    "twist": (
        "{a} bought the {x} the same day. {mood}",
        (
            "but on the way to the shop, {a} met {c}, whose house had burnt down. "
            "{a} gave {c} half of the money. {mood}"
        ),
        'in the shop, {b} was waiting with the {x}. "it is a present," {said} {b}. {mood}',
        "but the {x} had already been sold. {gloom} {few} days later, {b} found another one in {town}.",
    ),
    "diary": (
        (
            "{weekday}, {date}. {diary_line} {diary_line} [{diary_line}] {diary_end}\n{weekday}, {date}."
            " {diary_line} {diary_line} {diary_end}"
        ),
    ),
    "diary_line": (
        "got up at {clock} and {activity:past}.",
        "it was {weather} all day, so I {activity:past}.",
        "{a} came round and we {activity:past}.",
        "I have {illness} and feel {sad}.",
        "I had a {dish} and some {drink} for lunch.",
        "went to the {town_place} with {b}; {b.he} talked about {subject} the whole time.",
        "I wanted to {hobby}, but {problem}.",
        "I spent {price} on a {colour} {clothing}.",
        "the {pet} next door kept me awake until {clock}.",
        "no news from {c}.",
        "today was the {event} in {town}. it was {good}.",
        "my {relative} rang to say that {problem}.",
        "I must not forget to {errand}.",
        "{a} says {a.he} will move to {town} in {month}.",
        "I {activity:past}, then {activity:past}.",
    ),
    "diary_end": (
        "I feel {glad}.",
        "I am {sad}.",
        "went to bed at {clock}.",
        "tomorrow I will {activity}.",
        "a {good} day.",
        "a {bad} day.",
        "not a bad day after all.",
        "I hope tomorrow will be {weather}.",
    ),
    "habits": (
        (
            "every {weekday}, {a} gets up at {clock}. first {a.he} {activity:third_person}, then {a.he}"
            " {activity:third_person}. {a.he} {often} {activity:third_person} with {b}. in the evening {a.he}"
            " likes to {hobby}. {a} (often|usually|sometimes) eats {dish:plural}, but {a.he} does not like"
            " {vegetable:plural}. {b} is different: {b.he} {hobby:third_person} and {often}"
            " {activity:third_person}. [on {weekday}s, {b.he} works as a {b.job} in {town}.] they both love"
            " {season}. [{a} has never {activity:participle}, and neither has {b}.] [when {a} was a child,"
            " {a.he} {activity:past} every day, but now {a.he} would rather {activity}.]"
        ),
    ),
}

lost_story, trip_story, help_story = writer_of("lost_story"), writer_of("trip_story"), writer_of("help_story")
wish_story, fable = writer_of("wish_story"), writer_of("fable")
diary, habits = writer_of("diary"), writer_of("habits")
