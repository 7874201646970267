//! Statements that people make to an agent, as templates with gaps.
//!
//! `{S}` is the subject of a fact, `{A}` its attribute, and `{V}` its value. Every other gap is a
//! class of the lexicon, and decoration.

use super::lexicon::Class;

/// Something that can be said, changed and asked about.
#[derive(Debug)]
pub(super) struct Relation {
    /// The category of its questions.
    pub category: &'static str,
    pub subject: Class,
    pub attribute: Attribute,
    /// The class of `{V}`, unless the attribute says otherwise.
    pub value: Class,
    /// Statements by the subject about itself; empty where it cannot speak.
    pub own: &'static [&'static str],
    /// Statements about the subject by somebody else.
    pub told: &'static [&'static str],
    /// The same for changes of what was said before.
    pub own_changes: &'static [&'static str],
    pub told_changes: &'static [&'static str],
    /// Come back to the matter without saying `{V}`.
    pub follow_ups: &'static [&'static str],
    pub questions: &'static [&'static str],
}

/// The side of a subject that a fact is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute {
    /// There is only one.
    None,
    /// A word of a class.
    Class(Class),
    /// One of these words, each with the class of its values.
    Kind(&'static [(&'static str, Class)]),
}

const FAVORITES: &[(&str, Class)] = &[
    ("dessert", Class::Dish),
    ("novel", Class::Title),
    ("city", Class::Place),
    ("comfort food", Class::Dish),
    ("hobby", Class::Topic),
    ("film", Class::Title),
    ("birthday dish", Class::Dish),
    ("holiday destination", Class::Place),
    ("podcast", Class::Title),
    ("band", Class::Title),
    ("lunch", Class::Dish),
    ("series", Class::Title),
    ("day of the week", Class::Weekday),
    ("board game", Class::Title),
    ("employer so far", Class::Company),
    ("walk in town", Class::Street),
];

const PETS: &[(&str, Class)] = &[
    ("dog", Class::Pet),
    ("cat", Class::Pet),
    ("parrot", Class::Pet),
    ("rabbit", Class::Pet),
    ("tortoise", Class::Pet),
    ("horse", Class::Pet),
    ("hamster", Class::Pet),
    ("goldfish", Class::Pet),
];

const APPOINTMENTS: &[(&str, Class)] = &[
    ("dentist", Class::Weekday),
    ("physiotherapist", Class::Weekday),
    ("tax advisor", Class::Weekday),
    ("hairdresser", Class::Weekday),
    ("landlord", Class::Weekday),
    ("eye doctor", Class::Weekday),
    ("therapist", Class::Weekday),
    ("vet", Class::Weekday),
    ("career coach", Class::Weekday),
    ("bike mechanic", Class::Weekday),
];

pub(super) const RELATIONS: &[Relation] = &[
    Relation {
        category: "preference",
        subject: Class::Person,
        attribute: Attribute::Kind(FAVORITES),
        value: Class::Thing,
        own: &[
            "If you ask me for my favorite {A}, I would say {V}.",
            "My favorite {A} is {V}, no contest.",
            "I have to admit that {V} is my favorite {A} these days.",
            "Write this down for me: favorite {A}, {V}.",
        ],
        told: &[
            "{S} told me that {V} is the best {A} in the world.",
            "I learned that {S}'s favorite {A} is {V}.",
            "When it comes to a favorite {A}, {S} always goes for {V}.",
            "{S} could talk about {V} for hours, it really is the favorite {A} there.",
        ],
        own_changes: &[
            "I changed my mind about my favorite {A}, now it is {V}.",
            "Forget what I said before, my new favorite {A} is {V}.",
            "Turns out {V} has become my favorite {A} after all.",
        ],
        told_changes: &[
            "{S} changed course, the favorite {A} is now {V}.",
            "Update on {S}: {V} has replaced the old favorite {A}.",
            "{S} is over the old favorite {A} and swears by {V} now.",
        ],
        follow_ups: &[
            "We talked again about {S} and that favorite {A} of theirs.",
            "{S} is still explaining to everybody why a favorite {A} matters.",
        ],
        questions: &[
            "What is {S}'s favorite {A} now?",
            "Which {A} does {S} like best?",
            "What would {S} name as a favorite {A}?",
        ],
    },
    Relation {
        category: "where",
        subject: Class::Person,
        attribute: Attribute::None,
        value: Class::Place,
        own: &[
            "I moved to {V} in spring and the flat on {street} is small but lovely.",
            "I live in {V} these days, about ten minutes from {street}.",
            "We finally settled in {V}, my window looks out on {street}.",
        ],
        told: &[
            "{S} moved to {V} and found a quiet place on {street}.",
            "{S} lives in {V} now and commutes past {street}.",
            "Did I mention that {S} settled in {V} last autumn?",
        ],
        own_changes: &[
            "We are moving again, from next month on I live in {V}.",
            "I gave up the old flat and moved to {V}.",
        ],
        told_changes: &[
            "{S} has left the old place and moved to {V}.",
            "New address for {S}: it is {V} now, close to {street}.",
        ],
        follow_ups: &[
            "Helped {S} carry boxes after the move, my back still hurts.",
            "{S} complains about the neighbors since the move.",
        ],
        questions: &[
            "Where does {S} live now?",
            "In which city does {S} live?",
            "What town did {S} move to?",
        ],
    },
    Relation {
        category: "work",
        subject: Class::Person,
        attribute: Attribute::None,
        value: Class::Company,
        own: &[
            "I started as {role} at {V} and the team is friendly.",
            "Work is fine, {V} hired me as {role} on probation.",
            "I signed the contract with {V}, they were looking for {role}.",
        ],
        told: &[
            "{S} got the job as {role} at {V}.",
            "{S} works for {V} as {role}, mostly from home.",
            "{V} hired {S} as {role}, starting on a {weekday}.",
        ],
        own_changes: &[
            "I quit, from {weekday} on I work for {V} as {role}.",
            "New job for me: {role} at {V}, better hours and less travel.",
        ],
        told_changes: &[
            "{S} resigned and joined {V} as {role} instead.",
            "{S} has a new employer, {V}, and sounds {feeling} about it.",
        ],
        follow_ups: &[
            "{S} had a long day at work and came home {feeling}.",
            "{S} asked for a raise at work, no answer yet.",
        ],
        questions: &[
            "Who does {S} work for now?",
            "Which company employs {S} at the moment?",
            "Where does {S} have a job now?",
        ],
    },
    Relation {
        category: "who",
        subject: Class::Project,
        attribute: Attribute::None,
        value: Class::Person,
        own: &[],
        told: &[
            "{V} took charge of project {S} after the meeting with {company}.",
            "Project {S} belongs to {V}, so send questions there.",
            "For the record, {V} leads project {S} for {company}.",
        ],
        own_changes: &[],
        told_changes: &[
            "Project {S} changed hands, {V} leads it now.",
            "{V} takes over project {S} because of the holidays.",
        ],
        follow_ups: &[
            "The review of project {S} went well, {company} was {feeling}.",
            "Project {S} could use {role}, says {company}.",
            "We found a bug in project {S} that only shows on {weekday}.",
        ],
        questions: &[
            "Who leads project {S} now?",
            "Who is in charge of project {S}?",
            "Whom do I ask about project {S}?",
        ],
    },
    Relation {
        category: "when",
        subject: Class::Project,
        attribute: Attribute::Kind(&[
            ("first draft", Class::Date),
            ("budget", Class::Date),
            ("demo", Class::Date),
            ("final report", Class::Date),
            ("prototype", Class::Date),
            ("audit", Class::Date),
        ]),
        value: Class::Date,
        own: &[],
        told: &[
            "The {A} of project {S} is due on {V}, {company} insists.",
            "Remember that the deadline for the {A} of project {S} is {V}.",
            "{person} needs the {A} of project {S} by {V} at the latest.",
        ],
        own_changes: &[],
        told_changes: &[
            "The deadline moved: the {A} of project {S} is due on {V} now.",
            "Correction, the {A} of project {S} has to be ready by {V}.",
        ],
        follow_ups: &[
            "I am still stuck with the {A} of project {S}, send coffee.",
            "{person} offered to help with the {A} of project {S}.",
        ],
        questions: &[
            "When is the {A} of project {S} due?",
            "What is the deadline for the {A} of project {S}?",
        ],
    },
    Relation {
        category: "where",
        subject: Class::Topic,
        attribute: Attribute::Class(Class::Gathering),
        value: Class::Street,
        own: &[],
        told: &[
            "The {S} {A} takes place at {V}, doors open at {clock}.",
            "I signed up for the {S} {A} on {V} together with {person}.",
            "{person} runs a {S} {A} at the community center on {V}.",
        ],
        own_changes: &[],
        told_changes: &[
            "The {S} {A} had to move, it is at {V} now.",
            "New venue for the {S} {A}: {V}, same time as before.",
        ],
        follow_ups: &[
            "The {S} {A} was great, {person} could not stop laughing.",
            "After the {S} {A} I felt {feeling} for days.",
            "{person} took pictures at the {S} {A}, remind me to ask for them.",
        ],
        questions: &[
            "Where does the {S} {A} take place?",
            "On which street is the {S} {A}?",
            "What is the venue of the {S} {A}?",
        ],
    },
    Relation {
        category: "when",
        subject: Class::Person,
        attribute: Attribute::Class(Class::Place),
        value: Class::Date,
        own: &[
            "I booked the trip to {A}, I leave on {V} by train.",
            "My flight to {A} is on {V}, so please water the plants.",
        ],
        told: &[
            "{S} is flying to {A} on {V} with {person}.",
            "{S} planned a trip to {A}, the departure is on {V}.",
        ],
        own_changes: &[
            "I had to rebook my trip to {A}, it starts on {V} now.",
            "Change of plans, I travel to {A} on {V}.",
        ],
        told_changes: &[
            "{S} postponed the trip to {A} until {V}.",
            "{S} now leaves for {A} on {V}, the tickets were cheaper.",
        ],
        follow_ups: &[
            "{S} still looks for a hotel in {A}, ideally close to {street}.",
            "{S} keeps asking what to eat in {A}, I suggested {dish}.",
        ],
        questions: &["When does {S} travel to {A}?", "On what date does {S} leave for {A}?"],
    },
    Relation {
        category: "how_much",
        subject: Class::Person,
        attribute: Attribute::Class(Class::Product),
        value: Class::Amount,
        own: &[
            "I bought the {A} for {V} from a shop on {street}.",
            "My {A} arrived today, it cost me {V} with shipping.",
        ],
        told: &[
            "{S} paid {V} for the {A} and is {feeling} about it.",
            "{S} found a used {A} for {V} on {street}.",
        ],
        own_changes: &[
            "I sent the {A} back and got a better one for {V}.",
            "They corrected the bill for my {A}, it is {V} in the end.",
        ],
        told_changes: &[
            "{S} haggled again and got the {A} for {V} in the end.",
            "It turned out that {S} really spent {V} on the {A}.",
        ],
        follow_ups: &[
            "The {A} that {S} bought is already broken.",
            "{S} uses the {A} every single {weekday}.",
        ],
        questions: &["How much did {S} pay for the {A}?", "What did the {A} cost {S}?"],
    },
    Relation {
        category: "what",
        subject: Class::Person,
        attribute: Attribute::Kind(PETS),
        value: Class::Pet,
        own: &[
            "We adopted a {A} from the shelter and named it {V}.",
            "My {A} is called {V} and sleeps behind the {thing}.",
        ],
        told: &[
            "{S} has a {A} called {V} that steals {dish} from the table.",
            "{S}'s {A} goes by the name of {V}.",
        ],
        own_changes: &[
            "We renamed the {A}, it listens to {V} now.",
            "The kids voted, our {A} is called {V} from now on.",
        ],
        told_changes: &["{S} renamed the {A}, the new name is {V}."],
        follow_ups: &[
            "{S} had to take the {A} to the vet on {weekday}.",
            "I looked after {S}'s {A} over the weekend, no complaints.",
        ],
        questions: &["What is the name of {S}'s {A}?", "What is {S}'s {A} called?"],
    },
    Relation {
        category: "who",
        subject: Class::Person,
        attribute: Attribute::Class(Class::Thing),
        value: Class::Person,
        own: &[
            "I got a {A} from {V} for my birthday and it made me {feeling}.",
            "{V} gave me a {A}, wrapped in yesterday's newspaper.",
        ],
        told: &[
            "{V} gave {S} a {A} as a thank-you present.",
            "{S} was {feeling} about the {A} that {V} brought along.",
        ],
        own_changes: &["I mixed that up, the {A} I got came from {V}."],
        told_changes: &["I was wrong, it was {V} who gave {S} the {A}."],
        follow_ups: &[
            "{S} lost the {A} on the bus and is looking everywhere.",
            "{S} keeps the {A} on the shelf beside the door.",
        ],
        questions: &["Who gave {S} the {A}?", "From whom did {S} get a {A}?"],
    },
    Relation {
        category: "what",
        subject: Class::Person,
        attribute: Attribute::None,
        value: Class::Topic,
        own: &[
            "I am learning {V} on {weekday} evenings with {person}.",
            "I took up {V} because {person} talked me into it.",
        ],
        told: &[
            "{S} is learning {V} and practices every {weekday}.",
            "{S} started with {V} and won't talk about anything else.",
        ],
        own_changes: &["I dropped the old course, I am learning {V} instead."],
        told_changes: &["{S} got bored with the old course and is learning {V} now."],
        follow_ups: &[
            "{S} skipped the lesson on {weekday}, too tired to go.",
            "{S} practiced until midnight and woke up the neighbors.",
        ],
        questions: &["What is {S} learning at the moment?", "What did {S} take up lately?"],
    },
    Relation {
        category: "when",
        subject: Class::Person,
        attribute: Attribute::Kind(APPOINTMENTS),
        value: Class::Weekday,
        own: &[
            "I have to see the {A} on {V} at {clock}.",
            "My appointment with the {A} is on {V}, remind me the day before.",
        ],
        told: &[
            "{S} has an appointment with the {A} on {V} at {clock}.",
            "{S} is seeing the {A} on {V} and needs a ride.",
        ],
        own_changes: &["The {A} called, my appointment is on {V} now."],
        told_changes: &["The {A} moved {S}'s appointment to {V}."],
        follow_ups: &[
            "{S} came back from the {A} rather {feeling}.",
            "{S} forgot what the {A} said last time.",
        ],
        questions: &["On which day does {S} see the {A}?", "When is {S}'s appointment with the {A}?"],
    },
    Relation {
        category: "what",
        subject: Class::Person,
        attribute: Attribute::Class(Class::Weekday),
        value: Class::Dish,
        own: &[
            "I am cooking {V} on {A}, {person} brings the drinks.",
            "On {A} I want to try {V} with less salt.",
        ],
        told: &["{S} promised to cook {V} on {A} for everybody.", "{S} invited us over for {V} on {A}."],
        own_changes: &["No time for shopping, on {A} I will make {V} instead."],
        told_changes: &["{S} has new plans for {A}: {V} for twelve people."],
        follow_ups: &["Dinner at {S}'s on {A} turned into a card game until {clock}."],
        questions: &["What does {S} cook on {A}?", "Which dish will {S} make on {A}?"],
    },
];

/// Said in passing; no question is asked about it.
pub(super) const SMALL_TALK: &[&str] = &[
    "I woke up before {clock} and feel {feeling} today.",
    "The bus on {street} was late again this morning.",
    "Looks like rain all week, I left my {thing} at home.",
    "We had {dish} for lunch and it was surprisingly good.",
    "I saw {person} at the market on {weekday}, buying far too much.",
    "Have you read {title}? The ending made me {feeling}.",
    "I cannot find my {thing} anywhere, it must be in the car.",
    "There is a new bakery on {street} and the queue is endless.",
    "Somebody parked in front of our door again on {street}.",
    "The kids built a {adj} castle out of cardboard.",
    "My phone died in the middle of a call with {company}.",
    "I finished {title} last night and could not sleep afterwards.",
    "Traffic was terrible, it took me an hour from {street}.",
    "The {product} makes a strange noise, {person} says that is normal.",
    "I walked along {street} at sunset and felt {feeling}.",
    "{person} sends greetings and hopes to see you on {weekday}.",
    "The garden needs water, the tomatoes look sad.",
    "I met somebody from {company} at the station, small world.",
    "Someone told a story about {place} that I did not believe.",
    "I burned the {dish} because {person} called at the wrong time.",
    "The meeting with {company} could have been an email.",
    "We watched {title} with popcorn and fell asleep halfway.",
    "My back hurts since the {topic} class, I am not twenty anymore.",
    "It is so hot that the whole of {street} smells of asphalt.",
    "{person} laughed so hard that the neighbors knocked.",
    "I dreamed of {place} again, the {adj} house by the sea.",
    "They play the same song at {company} every single day.",
    "The new {product} looks better in the pictures, honestly.",
    "Coffee first, then we talk about {topic}.",
    "I found an old photo of {place} behind the {thing}.",
    "Nobody told me that {company} closes at {clock} on {weekday}.",
    "The light on {street} was golden this evening, you would have loved it.",
    "How was your weekend? I was {feeling}, mostly because of {person}.",
    "I keep thinking about {title} and what {person} said about it.",
    "We got lost near {street} and ended up eating {dish}.",
    "Our neighbor from {place} plays the trumpet at {clock}.",
];

/// Short sentences that may come first.
pub(super) const OPENERS: &[&str] = &[
    "By the way:",
    "Good news!",
    "One more thing.",
    "Oh, before I forget.",
    "Guess what.",
    "Quick update.",
    "So, listen.",
    "You won't believe it.",
    "Just so you know:",
    "Not that it matters much.",
    "Right, back to the point.",
    "Hey there!",
    "Between us:",
    "As I said on {weekday}:",
    "Please note:",
];

/// Sentences that may come last.
pub(super) const TAILS: &[&str] = &[
    "{person} was there too.",
    "That made me really {feeling}.",
    "We should celebrate with {dish}.",
    "Ask {person} if you need the details.",
    "I am {feeling} about it, to be honest.",
    "It took until {clock} to sort that out.",
    "I heard it from {person} at {company}.",
    "Can you remind me on {weekday}?",
    "It reminds me of {title}.",
    "The others were rather {feeling}.",
    "There was a {thing} involved, long story.",
    "I will tell {person} tomorrow.",
    "It cost me {amount}, by the way.",
    "Someone from {company} helped us a lot.",
    "That is what they say on {street}, at least.",
    "Funny how it all began in {place}.",
    "I made {dish} to calm down.",
    "We talked about {topic} the whole evening.",
    "My {thing} did not survive it.",
    "{person} and {person} disagree, of course.",
    "It was quieter than that time in {place}.",
    "Then we walked home along {street}.",
    "No idea what {company} thinks of it.",
    "I still owe {person} {amount}.",
    "The {product} can wait.",
    "Let us see what happens by {date}.",
    "Please keep it to yourself for now.",
    "{person} already knows.",
    "I wrote it into my calendar for {date}.",
    "That was the best part of the week.",
    "We had {dish} afterwards.",
    "{company} sent a card.",
    "The photos are on my phone.",
    "It was about time.",
    "I read about it in {title}.",
    "We met at {clock} in front of {company}.",
    "{person} from {place} says hello.",
    "Nobody on {street} was surprised.",
    "Now I need a new {thing}.",
    "What do you think?",
    "I promised {person} not to worry.",
];
