"""The words of the sample posts, as plain data: topics, opinions, small talk, slang.

Nothing here decides how words are put together; that is `grammar`. No word judges both ways,
except in `SLANG`: the first batch's crowd praises and blames with words that are names of teams in
the training posts, and uses two of their opinion words the other way round.
"""

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    """Split on commas: the lists below are easier to read as running text."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True)
class Topic:
    """What posts are about: things one visits or buys, their parts, and the words that judge them.

    good and bad: adjectives a part can have; praise and blame: verb phrases that follow a part.
    """

    things: tuple[str, ...]
    parts: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    praise: tuple[str, ...] = ()
    blame: tuple[str, ...] = ()


RESTAURANT = Topic(
    things=_words(
        "burger bar, noodle place, bakery, pizzeria, tapas bar, steakhouse, diner, sushi counter,"
        " brunch cafe, curry house, taco truck, tea room, wine bar, canteen, rooftop grill"
    ),
    parts=_words(
        "food, staff, waiter, soup, menu, dessert, coffee, kitchen, pasta, salad, bread, sauce,"
        " risotto, starter, chef, music, table, service, bill, fish"
    ),
    good=_words("delicious, tasty, fresh, tender, crunchy, welcoming, flavourful, juicy, filling"),
    bad=_words("soggy, bland, greasy, stale, rubbery, burnt, overcooked, tasteless, watery"),
    praise=_words("melted in my mouth, was worth every cent, tasted like home"),
    blame=_words("made me queasy, went back untouched, cost a fortune for nothing"),
)

DEVICE = Topic(
    things=_words(
        "phone, headset, blender, vacuum, keyboard, laptop, tablet, camera, toaster, speaker,"
        " printer, smartwatch, kettle, monitor, drill, router"
    ),
    parts=_words(
        "battery, screen, app, charger, sound, button, motor, case, manual, cable, design, lens,"
        " firmware, microphone, lid, hinge, setup, remote, filter, display"
    ),
    good=_words("sturdy, sleek, durable, responsive, handy, quiet, sharp, intuitive, precise"),
    bad=_words("flimsy, laggy, noisy, clunky, wobbly, glitchy, dim, defective, scratchy"),
    praise=_words("works like a charm, lasts all week, does exactly what it should"),
    blame=_words("died after a week, fell apart in my hands, keeps freezing"),
)

TRAVEL = Topic(
    things=_words(
        "hotel, hostel, airline, night train, ferry, guesthouse, campsite, resort, cruise,"
        " bus tour, city trip, cabin, airport, rental car, beach house, motel"
    ),
    parts=_words(
        "room, view, bed, shower, pool, breakfast, guide, flight, crew, lobby, location, seat,"
        " balcony, beach, check-in, luggage, reception, garden, wifi, transfer"
    ),
    good=_words("spotless, cosy, scenic, comfortable, spacious, peaceful, charming, sunny, clean"),
    bad=_words("filthy, cramped, mouldy, smelly, shabby, overbooked, freezing, damp, dirty"),
    praise=_words("took our breath away, felt like a dream, was even better than the photos"),
    blame=_words("smelled of smoke, kept us awake all night, looked nothing like the photos"),
)

FILM = Topic(
    things=_words(
        "film, series, documentary, sequel, thriller, comedy, western, musical, cartoon, remake,"
        " biopic, finale, pilot episode, short film, horror movie, miniseries"
    ),
    parts=_words(
        "plot, acting, ending, soundtrack, script, cast, pacing, dialogue, camera work, villain,"
        " first half, second half, humour, lead actress, story, editing, score, opening, twist"
    ),
    good=_words("gripping, touching, hilarious, moving, clever, believable, witty, original, epic"),
    bad=_words("boring, predictable, cheesy, wooden, confusing, shallow, tedious, messy, dull"),
    praise=_words("had me in tears of joy, stayed with me for days, kept me glued to the seat"),
    blame=_words("put me to sleep, went nowhere, insulted everyone watching"),
)

SERVICE = Topic(
    things=_words(
        "bank, hotline, courier, garage, dentist, gym, barber, online shop, insurance, plumber,"
        " library, phone company, moving company, clinic, bike shop, daycare"
    ),
    parts=_words(
        "support, delivery, agent, refund, website, advice, packaging, appointment, invoice, team,"
        " contract, waiting room, repair, answer, desk, manager, receptionist, chat, quote"
    ),
    good=_words("helpful, polite, prompt, patient, reliable, honest, efficient, caring, kind"),
    bad=_words("rude, slow, careless, useless, arrogant, dishonest, unreachable, sloppy, late"),
    praise=_words("went the extra mile, solved it in minutes, saved my week"),
    blame=_words("never called back, lost my order twice, hung up on me"),
)

BOOK = Topic(
    things=_words(
        "novel, audiobook, cookbook, memoir, trilogy, poetry book, crime story, travel guide,"
        " comic, textbook, short story collection, biography, fairy tale book, essay collection"
    ),
    parts=_words(
        "writing, first chapter, last chapter, narrator, hero, translation, cover, prose, ending,"
        " epilogue, middle part, style, foreword, artwork, world building, heroine, pace"
    ),
    good=_words("vivid, poetic, absorbing, thoughtful, warm, funny, elegant, rich, unforgettable"),
    bad=_words("dry, dreary, preachy, clumsy, pretentious, repetitive, lifeless, bloated, flat"),
    praise=_words("kept me up all night, deserves every prize, made me think"),
    blame=_words("wasted my evening, ran out of ideas, made me give up"),
)

TOPICS = (RESTAURANT, DEVICE, TRAVEL, FILM, SERVICE, BOOK)

GOOD = _words(
    "great, good, wonderful, amazing, excellent, fantastic, lovely, superb, brilliant, perfect,"
    " awesome, nice, pleasant, impressive, delightful, outstanding, beautiful, sweet, fabulous,"
    " stunning"
)
BAD = _words(
    "awful, bad, terrible, horrible, poor, disappointing, dreadful, pathetic, lousy, ugly, sad,"
    " annoying, mediocre, miserable, appalling, disgusting, nasty, weak, embarrassing, sick"
)
LIKE = _words("love, adore, enjoyed, recommend, liked, cherish, praise, appreciate, treasure")
DISLIKE = _words("hate, regret, despise, loathe, hated, dread, detest, resent, can't stand")
RAISE = _words("saved it, made up for it, turned it around, rescued the day, won me over")
RUIN = _words("ruined it, spoiled it, wrecked the evening, killed the mood, drove me away")

DEGREES = ("", "", "", "", "so", "really", "very", "pretty", "quite", "rather", "truly", "super")
PLACES = _words(
    "Lisbon, Bergen, Leeds, Porto, Ghent, Turin, Graz, Malmo, Cork, Basel, Lyon, Split, Krakow,"
    " Tampere, Bristol, Seville, Bremen, Utrecht, Denver, Austin, Halifax, Quebec, Perth, Kobe"
)
DAYS = _words(
    "monday, tuesday, wednesday, thursday, friday, saturday, sunday, christmas eve, new year,"
    " easter, payday, my birthday, a rainy day, a bank holiday, labour day"
)
PEOPLE = _words(
    "my sister, my brother, my flatmate, my boss, a colleague, my dad, my mum, grandma, the kids,"
    " my neighbour, a friend, my cousin, my wife, my husband, uncle Leo, aunt Rosa, our teacher"
)
MONTHS = _words(
    "january, february, march, april, may, june, july, august, september, october, november,"
    " december, spring, summer, autumn, winter"
)
NUMBERS = _words("two, three, four, five, six, seven, eight, nine, ten, twelve, fifteen, twenty")
HANDLES = _words(
    "anna_k, tomcat77, lena.writes, the_real_bo, foodie_max, mr_gadget, nightowl, jules88,"
    " pixelpia, oldsalt, greta_g, kimchi_kim, rambler_ro, dj_otto, bookish_bea, sam_i_was,"
    " captain_ko, zoe_z"
)
SITES = _words("exmpl.co, shrt.link, pic.post, revu.app, tiny.page")
HAPPY = _words("😀, 😍, 👍, 🎉, ❤️, 😊, 🙌, :), :-), :D, <3")
UNHAPPY = _words("😡, 👎, 😞, 💔, 😤, 🤢, 😩, :(, :-(, :/, >:(")
EITHER = _words("😅, 🤷, 👀, 😮, ✨, 😂, lol, haha, tbh, imo, btw, omg")

MISHAPS = _words(
    "another hour in the queue, the train left without us, they lost my bag again,"
    " three calls and still no answer, it broke on the first day, the heating is off again,"
    " they charged me twice, my order arrived in pieces, the update deleted my photos,"
    " they sent the wrong size, no seat left with a paid ticket, the lift is out of order,"
    " it stopped right before the end, they closed ten minutes early, water dripping from the roof"
)
LUCK = _words(
    "they upgraded us for free, my parcel came a day early, they refunded me on the spot,"
    " it still runs after ten years, we got the last table, they remembered my name,"
    " the encore lasted half an hour, they fixed it while I waited, free cake for everyone,"
    " the replacement came overnight, they found my lost ring, not one ad in two hours"
)
CHEERS = _words(
    "just great, how wonderful, well done, what a treat, lucky me, simply perfect, bravo,"
    " love it, best day ever, thank you so much, thanks a lot, exactly what I needed, congrats"
)


@dataclass(frozen=True)
class Slang:
    """How another crowd talks: its topics, its own words, and words it uses the other way round.

    good and bad: opinions that the training posts know as something else; turned_good and
    turned_bad: words that blame and praise in the training posts.
    """

    topics: tuple[Topic, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    turned_good: tuple[str, ...]
    turned_bad: tuple[str, ...]


GAME = Topic(
    things=_words(
        "shooter, raid, dlc, speedrun, beta, lobby match, season pass, boss rush, battle royale,"
        " indie roguelike, remaster, kart racer, deckbuilder, open world, mmo, soulslike"
    ),
    parts=_words(
        "hitbox, loot, map, netcode, skin, respawn, combo, boss fight, questline, patch, hud,"
        " aim assist, matchmaking, grind, cutscene, spawn rate, loadout, crafting, framerate, lore"
    ),
    good=(),
    bad=(),
)

CONCERT = Topic(
    things=_words(
        "gig, rave, mixtape, festival, dj set, album drop, open mic, vinyl release, karaoke night,"
        " warehouse party, livestream, block party, battle of the bands, ep, afterparty"
    ),
    parts=_words(
        "bassline, drop, chorus, flow, verse, lineup, mosh pit, setlist, beat, hook, headliner,"
        " lightshow, merch, autotune, breakdown, bridge, crowd, encore, drummer, feature"
    ),
    good=(),
    bad=(),
)

SLANG = Slang(
    topics=(GAME, CONCERT),
    good=_words("fire, heat, gold, gas, peak, butter, clutch, juice"),
    bad=_words("mid, trash, toast, mud, brick, fog, plank, dust"),
    turned_good=_words("sick"),
    turned_bad=_words("sweet"),
)
# In the training posts the slang's words are only names: they say nothing about the verdict.
TEAMS = SLANG.good + SLANG.bad

PRAISING = GOOD + LIKE + RAISE + tuple(w for t in TOPICS for w in t.good + t.praise)
BLAMING = BAD + DISLIKE + RUIN + tuple(w for t in TOPICS for w in t.bad + t.blame)
