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
    "animal": _words(
        "cat, dog, horse, tiger, rabbit, eagle, salmon, frog, whale, sheep, goat, wolf, mouse, owl,"
        " lion, zebra, duck, spider, turtle, fox"
    ),
    "fruit": _words(
        "apple, pear, plum, cherry, banana, lemon, grape, mango, peach, melon, fig, kiwi, papaya,"
        " apricot, coconut, date, lime, quince"
    ),
    "colour": _words("red, blue, green, yellow, black, white, purple, pink, brown, grey"),
    "tool": _words(
        "hammer, saw, drill, spade, rake, axe, chisel, wrench, screwdriver, file, pliers, shovel,"
        " trowel, scissors"
    ),
}
#: Kinds that only the first batch talks about.
LATER_KINDS = {
    "vehicle": _words(
        "tram, bicycle, lorry, ferry, scooter, tractor, canoe, helicopter, taxi, van, sledge, barge"
    ),
    "instrument": _words(
        "violin, trumpet, cello, flute, harp, banjo, oboe, tuba, guitar, piano, bagpipe, clarinet"
    ),
}
OPPOSITES = tuple(
    tuple(pair.split("-"))
    for pair in _words(
        "hot-cold, big-small, early-late, fast-slow, high-low, happy-sad, open-closed, full-empty,"
        " hard-soft, light-dark, long-short, loud-quiet, new-old, rich-poor, strong-weak,"
        " sweet-sour, thick-thin, wet-dry, wide-narrow, near-far, clean-dirty, right-wrong,"
        " up-down, first-last, in-out, front-back, day-night, summer-winter, north-south"
    )
)
THINGS = _words(
    "bike, boat, kite, lamp, piano, garden, tent, clock, camera, drum, ladder, sofa, robot, puzzle,"
    " telescope, umbrella, guitar, scarf, map, kettle"
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
