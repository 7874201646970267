//! The hand-written words, the commonest of each list first, and what invented
//! ones are made of.

pub(super) const ONSETS: &[&str] = &[
    "b", "br", "c", "d", "dr", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t",
    "v", "z",
];

pub(super) const VOWELS: &[&str] = &[
    "a", "e", "i", "o", "u",
];

pub(super) const SURNAME_ENDINGS: &[&str] = &[
    "rd", "lt", "nsky", "x", "mpton", "wick", "lund", "nd", "rsh",
];

pub(super) const PLACE_ENDINGS: &[&str] = &[
    "xby", "rford", "lham", "nport", "wick", "lmouth", "ndale", "rk",
];

pub(super) const STREET_ENDINGS: &[&str] = &[
    "n", "r", "lt", "nd", "ck", "wood", "field", "sh",
];

pub(super) const COMPANY_ENDINGS: &[&str] = &[
    "x", "ware", "rth", "lytics", "nd", "wave", "ntum", "sh",
];

pub(super) const PRODUCT_ENDINGS: &[&str] = &[
    "x", "n", "lux", "pod", "ntix", "q", "rt", "phone",
];

pub(super) const PET_ENDINGS: &[&str] = &[
    "x", "ng", "sh", "nk",
];

pub(super) const MONTHS: &[&str] = &[
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
];

pub(super) const WEEKDAYS: &[&str] = &[
    "Saturday", "Friday", "Sunday", "Tuesday", "Wednesday", "Thursday", "Monday",
];

pub(super) const FIRST_NAMES: &[&str] = &[
    "Maria", "Daniel", "Priya", "Tom", "Aisha", "Lena", "Marcus", "Yuki", "Sofia", "Omar",
    "Grace", "Victor", "Hannah", "Diego", "Nora", "Samir", "Chloe", "Jonas", "Amara", "Felix",
    "Ines", "Kofi", "Ruth", "Pavel", "Mei", "Oscar", "Leila", "Hugo", "Tara", "Anton", "Zoe",
    "Rafael", "Ivy", "Mateo", "Freya", "Kenji", "Alma", "Bruno", "Selma", "Idris", "Paula",
    "Theo", "Noor", "Emil", "Rosa", "Callum", "Dalia", "Henrik", "Miriam", "Arjun", "Elsa",
    "Tariq", "Bianca", "Otto", "Naomi", "Luca", "Petra", "Jamal", "Astrid", "Cyrus", "Wanda",
    "Nikhil", "Greta", "Silas", "Farah", "Edgar", "Lucia", "Bodhi", "Irene", "Stefan", "Kamala",
    "Dmitri", "Heidi", "Ravi", "Esther", "Milan", "Jasmin", "Albert", "Vera", "Hassan",
    "Odette", "Gustav", "Tamsin", "Ibrahim", "Carla", "Ewan", "Shreya", "Rolf", "Bettina",
    "Malik", "Fiona", "Jorge", "Sunniva", "Abel", "Linnea", "Rashid", "Agnes", "Viktor",
    "Ottilie", "Samuel",
];

pub(super) const SURNAMES: &[&str] = &[
    "Okafor", "Lindqvist", "Moreau", "Tanaka", "Novak", "Haddad", "Fischer", "Costa", "Brennan",
    "Ivanova", "Mbeki", "Castillo", "Whitfield", "Rossi", "Kapoor", "Jensen", "Demir", "Walsh",
    "Petrov", "Nakamura", "Silva", "Hughes", "Schneider", "Dubois", "Adeyemi", "Kowalski",
    "Reyes", "Bergman", "Yilmaz", "Park", "Mendoza", "Clarke", "Weber", "Santos", "Larsen",
    "Malik", "Horvat", "Ferrari", "Osei", "Nguyen",
];

pub(super) const PLACES: &[&str] = &[
    "Lisbon", "Berlin", "Kyoto", "Oslo", "Porto", "Chicago", "Valencia", "Edinburgh", "Hanoi",
    "Montreal", "Ghent", "Nairobi", "Seville", "Boston", "Krakow", "Lyon", "Osaka", "Dublin",
    "Toronto", "Naples", "Bergen", "Austin", "Athens", "Cusco", "Utrecht", "Denver", "Malmo",
    "Tbilisi", "Bologna", "Seattle", "Accra", "Prague", "Bristol", "Salzburg", "Taipei", "Cork",
    "Marseille", "Portland", "Ljubljana", "Granada", "Helsinki", "Busan", "Leipzig", "Quebec",
    "Zagreb", "Fez", "Aarhus", "Santiago", "Tallinn", "Adelaide", "Bordeaux", "Varanasi",
    "Reykjavik", "Split", "Galway", "Antwerp", "Medellin", "Jaipur", "Turin", "Zurich",
];

pub(super) const COMPANIES: &[&str] = &[
    "the city library", "Harbor Bank", "Northwind", "the children's hospital",
    "Blue Finch Studio", "Greenline Energy", "the university", "Copper Kettle",
    "Lantern Health", "Atlas Freight", "Pinecrest School", "Mosaic Films",
    "the fire department", "Tidewater Labs", "Juniper Insurance",
];

pub(super) const PRODUCTS: &[&str] = &[
    "espresso machine", "e-reader", "road bike", "noise-cancelling headphones",
    "sewing machine", "standing desk", "camera", "air fryer", "tent", "electric piano",
    "telescope", "laptop", "robot vacuum", "sleeping bag", "record player", "kayak",
    "dehumidifier", "drone", "smartwatch", "hiking boots", "projector", "bread maker",
    "guitar amplifier", "office chair", "food processor",
];

pub(super) const ADJECTIVES: &[&str] = &[
    "quiet", "old", "bright", "tiny", "golden", "crowded", "gentle", "silver", "wooden",
    "hidden", "restless", "warm", "narrow", "crooked", "friendly", "broken", "lonely",
    "distant", "velvet", "hollow", "patient", "scarlet", "frozen", "wandering", "polished",
    "humble", "stormy", "amber", "secret", "painted", "rusty", "clever", "paper", "salty",
    "northern", "curious", "forgotten", "spotted", "marble", "burning", "woven", "sunlit",
    "borrowed", "foggy", "emerald", "nimble", "ancient", "copper", "floating", "midnight",
    "striped", "pale", "stubborn", "glass", "mossy", "electric", "faded", "indigo", "rugged",
    "whispering",
];

pub(super) const NOUNS: &[&str] = &[
    "harbor", "lantern", "orchard", "heron", "river", "compass", "garden", "falcon", "bridge",
    "winter", "letter", "mirror", "island", "comet", "thread", "meadow", "anchor", "piano",
    "fox", "station", "canyon", "beacon", "feather", "library", "tide", "oak", "voyage",
    "ember", "market", "valley", "sparrow", "clock", "glacier", "window", "cedar", "raven",
    "summit", "carousel", "prairie", "kettle", "labyrinth", "otter", "signal", "quarry",
    "balloon", "willow", "cathedral", "pebble", "tunnel", "monsoon", "violin", "badger",
    "lagoon", "attic", "juniper", "horizon", "chapel", "turbine", "marsh", "acorn", "ferry",
    "nebula", "thistle", "cellar", "magnet", "pelican", "granite", "trellis", "walnut",
    "zephyr",
];

pub(super) const TITLE_ENDS: &[&str] = &[
    "sea", "king", "moon", "machine", "stranger", "ghost", "wolf", "desert", "queen", "silence",
    "storm", "thief", "map", "bees", "astronaut", "baker", "forest", "flood", "tailor", "snow",
];

pub(super) const TOPICS: &[&str] = &[
    "pottery", "climbing", "Spanish", "watercolor painting", "chess", "gardening", "yoga",
    "photography", "baking", "salsa", "woodworking", "guitar", "swimming", "birdwatching",
    "knitting", "astronomy", "running", "calligraphy", "surfing", "improv", "first aid",
    "piano", "beekeeping", "origami", "cycling", "poetry", "sailing", "meditation", "Japanese",
    "archery", "candle making", "volunteering", "genealogy", "juggling", "karate",
    "public speaking", "home brewing", "tennis", "geology", "fencing", "robotics",
    "choir singing", "film editing", "statistics", "bookbinding", "foraging", "skating",
    "drumming", "weaving", "investing", "Korean", "rowing", "cartooning", "tango", "bonsai",
    "parenting", "machine learning", "screen printing", "kite flying", "sourdough",
];

pub(super) const MANNERS: &[&str] = &[
    "beginner", "advanced", "outdoor", "online", "evening", "weekend", "competitive",
    "community", "family", "intensive", "traditional", "creative", "winter", "lunchtime",
    "amateur", "therapeutic", "urban", "guided", "remote", "charity", "morning", "student",
    "historical", "experimental", "seasonal", "group", "solo", "certified", "neighborhood",
    "international",
];

pub(super) const DISHES: &[&str] = &[
    "ramen", "lasagna", "mushroom risotto", "lentil soup", "falafel", "paella", "dumplings",
    "apple pie", "goulash", "tacos", "pumpkin curry", "moussaka", "pancakes", "bibimbap",
    "gazpacho", "shakshuka", "cheesecake", "pierogi", "jollof rice", "fish stew", "tiramisu",
    "couscous", "banana bread", "ceviche", "onion tart", "miso soup", "chili", "samosas",
    "gnocchi", "pad thai", "borscht", "crepes", "biryani", "carrot cake", "fondue", "empanadas",
    "tagine", "potato salad", "green curry", "plum crumble", "okonomiyaki", "ratatouille",
    "spring rolls", "clam chowder", "baklava", "polenta", "kimchi stew", "rhubarb jam",
];

pub(super) const THINGS: &[&str] = &[
    "scarf", "notebook", "teapot", "lamp", "bracelet", "puzzle", "backpack", "vase", "umbrella",
    "cookbook", "blanket", "watch", "necklace", "plant", "fountain pen", "candle", "jacket",
    "mug", "picture frame", "wallet", "harmonica", "binoculars", "rug", "hammock", "music box",
    "gloves", "jewelry box", "poster", "mirror", "sweater", "board game", "toolbox",
    "pocket knife", "globe", "tea set", "ukulele", "cushion", "chessboard", "map", "clock",
];

pub(super) const PETS: &[&str] = &[
    "Biscuit", "Luna", "Pepper", "Mochi", "Ziggy", "Clementine", "Waffles", "Shadow", "Olive",
    "Pickles", "Juno", "Basil", "Nimbus", "Poppy", "Rufus", "Maple", "Gizmo", "Saffron", "Tofu",
    "Bandit", "Pippin", "Hazel", "Noodle", "Figaro", "Cricket", "Marmalade", "Truffle",
    "Domino",
];

pub(super) const ROLES: &[&str] = &[
    "a nurse", "a designer", "a teacher", "a data analyst", "a project manager", "an editor",
    "a chef", "an accountant", "an electrician", "a social worker", "a software engineer",
    "a translator", "a biologist", "a receptionist", "an architect", "a paramedic",
    "a sound technician", "a buyer", "a lab assistant", "a driver", "a recruiter", "a gardener",
    "a lawyer", "a photographer",
];

pub(super) const GATHERINGS: &[&str] = &[
    "workshop", "class", "meetup", "course", "festival", "club", "competition", "exhibition",
    "seminar", "retreat", "fundraiser", "open day", "summer camp", "conference",
];

pub(super) const FEELINGS: &[&str] = &[
    "happy", "tired", "excited", "nervous", "relieved", "proud", "puzzled", "grateful",
    "stressed", "hopeful", "annoyed", "calm", "surprised", "disappointed", "curious",
    "homesick", "amazed", "worried", "impatient", "inspired", "overwhelmed", "cheerful",
    "skeptical", "content",
];
