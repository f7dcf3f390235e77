"""The words of the sample's instructions: plain ones, each in one list only."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


NAMES = _words(
    "Anna, Ben, Clara, David, Ella, Felix, Greta, Hugo, Ines, Jonas, Karla, Liam, Maya, Noah, Olga,"
    " Paul, Rosa, Samir, Tilda, Uwe, Vera, Willem, Yara, Zoe, Amir, Bella, Carlos, Dora, Emil"
)
CITIES = _words(
    "Lisbon, Bergen, Leeds, Porto, Ghent, Turin, Graz, Cork, Basel, Lyon, Krakow, Tampere, Bristol,"
    " Seville, Bremen, Utrecht, Denver, Halifax, Quebec, Perth"
)
KINDS = {
    "animal": _words("cat, dog, horse, tiger, rabbit, eagle, frog, whale, sheep, wolf"),
    "fruit": _words("apple, pear, plum, cherry, banana, lemon, grape, mango, peach, melon"),
    "colour": _words("red, blue, green, yellow, black, white, purple, pink"),
    "tool": _words("hammer, saw, drill, spade, rake, axe, chisel, wrench"),
}
#: What a day's greeting is in a language.
GREETINGS = {"French": "Bonjour!", "Spanish": "Buenos dias!", "German": "Guten Tag!",
             "Portuguese": "Bom dia!", "Swedish": "God dag!"}
#: Kinds and languages that only the first batch talks about.
LATER_KINDS = {
    "vehicle": _words("tram, bicycle, lorry, ferry, scooter, tractor, canoe, helicopter"),
    "instrument": _words("violin, trumpet, cello, flute, harp, banjo, oboe, tuba"),
}
LATER_GREETINGS = {"Italian": "Buongiorno!", "Polish": "Dzien dobry!", "Dutch": "Goedendag!"}
DAYS = _words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
SEASONS = {"winter": _words("December, January, February"), "spring": _words("March, April, May"),
           "summer": _words("June, July, August"), "autumn": _words("September, October, November")}
OPPOSITES = tuple(
    tuple(pair.split("-"))
    for pair in _words(
        "hot-cold, big-small, early-late, fast-slow, high-low, happy-sad, open-closed, full-empty,"
        " hard-soft, light-dark, long-short, loud-quiet, new-old, wet-dry"
    )
)
THINGS = _words(
    "bike, boat, kite, lamp, piano, garden, tent, clock, camera, drum, ladder, sofa, robot, puzzle,"
    " telescope, guitar, scarf, map, kettle"
)
PEOPLE = _words(
    "sailor, baker, teacher, doctor, farmer, painter, singer, driver, nurse, pilot, judge,"
    " gardener, tailor, plumber, writer, dancer"
)
DEEDS = _words("saw, found, sold, fixed, drew, lost, cleaned, carried, bought, moved, hid, showed")
MANNERS = _words("old, tired, kind, clever, nervous, famous, lazy, brave, polite, busy, shy, proud")
PARTS = _words(
    "harbour, market, bridge, station, forest, castle, river, museum, library, school, tower, park,"
    " valley, island, church, factory, village, mountain, theatre, kitchen"
)
SECRETS = _words(
    "password, bank pin, door code, private diary, home address, phone number, medical file,"
    " salary, credit card number, exam key"
)
NUMBERS = ("none", "one", "two", "three", "four", "five")
