"""English word lists by subject, written by hand: the raw material of the built-in corpus and tasks.

Every list is a tuple of base forms. `corpus/grammar.py` inflects them: a verb phrase by its first word,
a noun by its last. Lists named after a noun are countable ("a {tool}"); the uncountable ones say so.
"""


def _words(text):
    return tuple(word.strip() for word in text.replace("\n", " ").split(","))


# --- people -------------------------------------------------------------------------------------------

WOMEN = _words("""Anna, Beth, Clara, Daisy, Edith, Flora, Grace, Hannah, Iris, Jane, Kate, Laura, Mary,
Nora, Olive, Paula, Rosa, Sarah, Tessa, Vera, Wendy, Zoe, Amelia, Bella, Celia, Dora, Eva, Frances, Greta,
Helen, Ida, Julia, Karen, Lucy, Maria, Nina, Opal, Polly, Rita, Sofia, Tina, Ursula, Violet, Alice, Ella,
Emma, Fiona, Gemma, Heidi, Ingrid, Joan, Lena, Maya, Naomi, Priya, Ruth, Stella, Leila, Amara, Yuki""")
MEN = _words("""Adam, Ben, Carl, Daniel, Edgar, Frank, George, Henry, Isaac, Jack, Karl, Leo, Martin, Noah,
Oscar, Paul, Robert, Sam, Tom, Victor, Walter, Alan, Bruno, Colin, David, Eric, Felix, Gordon, Hugo, Ivan,
James, Kevin, Louis, Mark, Neil, Oliver, Peter, Ralph, Simon, Theo, Vincent, Will, Anton, Boris, Dennis,
Emil, Fred, Harry, Jonas, Lars, Max, Nico, Owen, Philip, Rafael, Stefan, Tariq, Kofi, Hiro, Omar""")
JOB = _words("""teacher, nurse, baker, farmer, carpenter, plumber, doctor, lawyer, painter, writer,
gardener, driver, pilot, sailor, soldier, tailor, butcher, fisherman, librarian, engineer, architect,
dentist, vet, chemist, waiter, cook, singer, dancer, actor, musician, photographer, journalist, mechanic,
electrician, builder, miner, judge, clerk, cashier, manager, secretary, postman, policeman, fireman,
scientist, astronomer, historian, potter, weaver, jeweller, shoemaker, florist, barber, hairdresser,
optician, surgeon, translator, programmer, accountant, banker, guide, porter, shepherd, beekeeper,
blacksmith, locksmith, glazier, roofer, bricklayer, editor, printer, bookseller, shopkeeper, mayor,
conductor, composer, coach, referee, lifeguard, ranger, diver, welder, cleaner, caretaker, professor""")
RELATIVE = _words("""mother, father, sister, brother, aunt, uncle, cousin, grandmother, grandfather,
neighbour, friend, daughter, son, niece, nephew, colleague, teacher, flatmate, boss""")
KIND = _words("""kind, patient, honest, cheerful, clever, brave, shy, quiet, polite, generous, curious,
careful, gentle, proud, stubborn, lazy, busy, friendly, serious, funny, calm, bold, modest, loyal, wise,
strict, warm, thoughtful, hard-working, forgetful, lively, tidy, restless, practical, ambitious, easy-going,
talkative, humble, witty""")
GLAD = _words("""happy, glad, pleased, proud, excited, grateful, delighted, relieved, hopeful, content,
cheerful, amused, thankful, satisfied, overjoyed, calm""")
SAD = _words("""sad, worried, angry, tired, nervous, disappointed, lonely, upset, afraid, annoyed, ashamed,
jealous, bored, anxious, miserable, frustrated, confused, homesick, embarrassed, hurt, gloomy, unhappy""")
FEELING = _words("""joy, anger, fear, hope, pride, shame, relief, surprise, sorrow, envy, courage, patience,
boredom, curiosity, gratitude, excitement, loneliness, delight, doubt, grief, guilt, trust, wonder, calm""")
LOOK = _words("""tall, short, thin, strong, young, old, elderly, slim, broad-shouldered, pale, freckled,
bearded, grey-haired, red-haired, dark-haired, blond, curly-haired, well-dressed""")
BODY_PART = _words("""head, arm, leg, hand, foot, knee, elbow, shoulder, finger, thumb, toe, ankle, wrist,
neck, back, chest, stomach, ear, eye, nose, chin, cheek, hip, heel, tooth""")
ILLNESS = _words("""a cold, a cough, a fever, a headache, a sore throat, a stomach ache, a toothache, the
flu, a rash, an ear infection, a sprained ankle, a broken wrist, a bad back, hay fever, a nosebleed, a
blister""")
REMEDY = _words("""rest, warm tea, plenty of water, fresh air, a good night's sleep, two tablets a day, a
bandage, an ice pack, cough syrup, gentle exercise, a hot bath, an ointment, eye drops, a week in bed, less
salt""")
HOBBY = _words("""paint landscapes, play chess, collect stamps, bake bread, grow tomatoes, ride a bicycle,
climb hills, sing in a choir, read detective stories, knit scarves, repair clocks, watch birds, swim in the
lake, write poems, take photographs, build model ships, keep bees, learn languages, play the violin, dance
the tango, go fishing, draw maps, play the drums, make pottery, run long distances, sail small boats, cook
for friends, study the stars, carve wooden animals, solve crosswords, restore old furniture, play table
tennis, tell jokes, ride horses""")
ACTIVITY = _words("""walk along the river, clean the kitchen, read the newspaper, mend the fence, water the
plants, visit the market, write a letter, feed the hens, wash the car, sweep the yard, call an old friend,
buy a ticket, paint the door, bake a cake, take the bus home, wait at the station, sit in the garden, listen
to the radio, drink a cup of tea, chop wood, light the fire, pack a suitcase, iron the shirts, go for a run,
play cards, pick apples, cut the grass, meet a neighbour, lock the shop, count the money, open the window,
move the table, tidy the attic, look for the keys, make soup, catch the last train, choose a present, dig in
the garden, fix the roof, fill the bucket, post a parcel, cross the bridge, watch the rain, do the dishes,
eat breakfast, sell vegetables, study for an exam, hang out the washing, close the shutters, sleep until
noon""")
ERRAND = _words("""buy bread, post a letter, return a book, see the doctor, collect a parcel, meet a friend,
pay a bill, sell some eggs, have a coat mended, get a haircut, look at a flat, visit an aunt, find a
present, borrow a ladder, order a cake, renew a passport, pick up the children, change some money, have a
tooth pulled, book a room""")
SUBJECT = _words("""history, geography, mathematics, physics, chemistry, biology, music, art, literature,
French, German, Latin, economics, philosophy, drama, astronomy, geology, Spanish""")  # uncountable

# --- nature and weather -------------------------------------------------------------------------------

ANIMAL = _words("""dog, cat, horse, cow, sheep, goat, pig, hen, duck, goose, rabbit, hare, fox, wolf, bear,
deer, badger, hedgehog, squirrel, mouse, rat, mole, otter, beaver, seal, whale, dolphin, shark, frog, toad,
lizard, snake, tortoise, owl, eagle, hawk, crow, raven, robin, sparrow, swallow, swan, heron, pigeon,
parrot, penguin, lion, tiger, elephant, giraffe, zebra, camel, monkey, donkey, mule, bat, bee, wasp, ant,
spider, butterfly, beetle, snail, crab, lobster, salmon, trout, octopus, kangaroo, panda, leopard, hippo,
crocodile, turkey, ferret, hamster, lamb, calf""")
PET = _words("dog, cat, rabbit, parrot, hamster, tortoise, pony, puppy, kitten, goldfish, canary, goat")
ANIMAL_FOOD = _words("""grass, leaves, seeds, nuts, worms, insects, small fish, berries, roots, fruit,
snails, mice, eggs, bark, honey, flies, frogs, shellfish, grain, mushrooms""")  # plural or uncountable
HUNTER = _words("fox, wolf, bear, eagle, hawk, owl, lion, tiger, leopard, crocodile, snake, shark, lynx")
BIRD = _words("""robin, sparrow, swallow, crow, raven, pigeon, owl, hawk, magpie, blackbird, thrush, finch,
starling""")
GARDEN_PEST = _words("snail, slug, rabbit, hare, mouse, beetle, pigeon, caterpillar, deer, goat, hen, mole")
HABITAT = _words("""forest, desert, river, lake, meadow, mountain, cave, garden, marsh, jungle, field, sea,
hedge, pond, valley, moor, orchard, cliff, island, farmyard""")
TREE = _words("""oak, ash, birch, elm, maple, pine, willow, beech, cedar, poplar, chestnut, walnut, apple
tree, pear tree, cherry tree, holly, yew, larch, alder, hazel, plum tree, fig tree, olive tree, palm,
rowan""")
FLOWER = _words("""rose, tulip, daisy, lily, violet, poppy, daffodil, iris, orchid, sunflower, carnation,
bluebell, snowdrop, primrose, foxglove, marigold, pansy, crocus, dahlia, buttercup, geranium, lavender
bush""")
LAND = _words("""hill, valley, river, lake, forest, cliff, beach, field, meadow, stream, waterfall, island,
bay, cave, mountain, pond, moor, marsh, canal, harbour, ridge, canyon, glacier, dune, spring""")
WEATHER = _words("""sunny, rainy, windy, cloudy, foggy, snowy, stormy, cold, warm, hot, mild, cool, dry,
wet, frosty, humid, bright, grey, chilly, misty, icy, clear, overcast, drizzly, breezy, sultry""")
SKY = _words("""rain, snow, fog, hail, sleet, drizzle, sunshine, mist, wind, thunder, frost, heavy rain,
light snow""")
STORM = _words("""storm, flood, blizzard, heatwave, gale, thunderstorm, snowstorm, drought, cold spell,
heavy frost""")
SEASON = _words("spring, summer, autumn, winter")
COLOUR = _words("""red, blue, green, yellow, orange, purple, brown, black, white, grey, pink, silver,
golden, cream, crimson, scarlet, turquoise, violet, beige, ivory, navy, pale blue, dark green, bright red,
light brown""")
MATERIAL = _words("""wood, iron, steel, glass, stone, clay, leather, paper, cotton, wool, silk, brass,
copper, tin, silver, gold, plastic, rubber, marble, brick, bone, wax, bamboo, oak, concrete, linen, felt,
slate""")  # uncountable
BUILDING_MATERIAL = _words("stone, brick, wood, oak, marble, concrete, slate, clay, timber, granite")
SHAPE = _words("""round, square, flat, long, narrow, oval, curved, heavy, light, tiny, large, thin, thick,
hollow, pointed""")
SIZE = _words("""small, big, large, tiny, huge, little, enormous, medium-sized, long, short, tall, wide,
narrow""")
AGE = _words("old, new, ancient, modern, young, antique, second-hand, brand-new, worn")

# --- food and drink -----------------------------------------------------------------------------------

FRUIT = _words("""apple, pear, plum, cherry, peach, apricot, orange, lemon, lime, banana, grape, melon, fig,
mango, pineapple, strawberry, raspberry, blackberry, blueberry, grapefruit, date, kiwi""")
VEGETABLE = _words("""carrot, onion, potato, tomato, cucumber, pepper, leek, turnip, cabbage, lettuce,
radish, beetroot, mushroom, pumpkin, aubergine, courgette, bean, pea, parsnip, artichoke, olive, chilli""")
DISH = _words("""omelette, salad, soup, stew, curry, pie, pizza, burger, sandwich, pasta dish, risotto,
roast chicken, fish pie, lamb stew, vegetable curry, cheese toast, pancake, apple tart, steak, grilled
trout, noodle soup, pork chop, mushroom risotto, baked potato, goat cheese salad, seafood platter, lentil
soup, chicken wrap, beef burger, quiche, egg sandwich, onion soup, plum cake, chocolate cake, lemon tart,
ice cream, fruit salad, cheesecake, waffle, scone, dumpling, kebab, paella, casserole, meatball sandwich,
tomato soup, rice bowl, shepherd's pie""")
RECIPE_DISH = _words("""soup, stew, curry, pie, salad, risotto, omelette, casserole, tart, quiche, pancake,
pizza""")
DRINK = _words("""coffee, tea, hot chocolate, lemonade, apple juice, orange juice, sparkling water, milk,
ginger beer, red wine, white wine, cider, mint tea, iced tea, espresso, cappuccino, green tea, tomato
juice""")  # uncountable
STAPLE = _words("""flour, sugar, butter, salt, milk, rice, honey, cream, cheese, oil, vinegar, yeast, jam,
bread, pepper, cinnamon, ginger, garlic, oats, chocolate, mustard, parsley, basil, thyme, yoghurt,
stock""")  # uncountable
CUISINE = _words("""Italian, French, Chinese, Indian, English, Japanese, Mexican, Greek, Thai, Turkish,
Spanish, Lebanese, Polish, Korean, Moroccan, German, Hungarian, Brazilian""")
TASTE = _words("""sweet, sour, salty, bitter, spicy, mild, creamy, crisp, juicy, rich, tender, fresh,
fruity, smoky""")
BAD_TASTE = _words("""bland, soggy, burnt, stale, cold, greasy, dry, overcooked, tasteless, too salty,
lukewarm, tough""")
COOK = _words("""boil, fry, bake, roast, grill, steam, simmer, stew, chop, peel, slice, mash, grate, stir,
mix, season""")

# --- things -------------------------------------------------------------------------------------------

TOOL = _words("""hammer, saw, drill, spade, rake, ladder, needle, brush, knife, axe, chisel, screwdriver,
spanner, wheelbarrow, bucket, rope, broom, lamp, shovel, file, trowel, pair of scissors, pair of pliers,
torch, hose""")
FURNITURE = _words("""table, chair, bed, sofa, desk, shelf, cupboard, wardrobe, bench, stool, armchair,
mirror, lamp, rug, bookcase, chest of drawers, cradle, curtain, cushion, carpet""")
CLOTHING = _words("""coat, hat, scarf, shirt, dress, skirt, jacket, jumper, belt, tie, apron, cap, cloak,
blouse, raincoat, waistcoat, vest, pair of gloves, pair of shoes, pair of boots, pair of socks, pair of
sandals""")
PRODUCT = _words("""kettle, toaster, radio, camera, phone, laptop, vacuum cleaner, watch, lamp, bicycle,
coffee machine, blender, heater, fan, printer, keyboard, pair of headphones, alarm clock, electric drill,
torch, speaker, record player, sewing machine, juicer, dishwasher, wall clock, kitchen scale, doorbell, air
pump, lawnmower, washing machine, fridge, microwave, television, tablet, hairdryer, iron""")
THING = _words("""key, ring, letter, map, book, coin, clock, watch, box, basket, bottle, candle, picture,
doll, kite, ball, drum, bell, flute, necklace, notebook, pen, cup, plate, bowl, jug, vase, blanket, pillow,
suitcase, wallet, purse, umbrella, ticket, diary, compass, whistle, lantern, mirror, comb, brooch, statue,
painting, photograph, hat, violin, telescope, teapot, scarf, glove, bracelet, medal, model ship, recipe
book, sketchbook, walking stick, toolbox""")
TREASURE = _words("""silver ring, gold coin, old map, wooden box, blue stone, letter, key, diary, pearl
necklace, pocket watch, painting, glass bottle, compass, brass bell, photograph, rare stamp, clay bowl,
music box""")
PART = _words("""handle, lid, button, battery, cable, switch, hinge, plug, motor, case, display, spring,
cover, base, timer""")
VEHICLE = _words("""car, bus, train, tram, lorry, van, boat, ferry, bicycle, motorbike, cart, taxi, ship,
tractor, barge, canoe, plane, carriage, scooter, sledge""")
INSTRUMENT = _words("""piano, violin, guitar, flute, drum, trumpet, cello, harp, clarinet, organ, accordion,
trombone, saxophone, mandolin, oboe, banjo, recorder, bassoon""")
SPORT = _words("""football, tennis, rugby, cricket, hockey, basketball, volleyball, handball, badminton,
rowing, boxing, fencing, swimming, cycling, skating, golf, water polo, table tennis""")  # uncountable
GENRE = _words("""novel, film, play, detective story, love story, comedy, thriller, documentary, memoir,
fairy tale, short story, biography, western, mystery, science fiction novel, poem, opera, ballad""")
SCIENCE = _words("""magnet, planet, comet, volcano, molecule, battery, lens, gear, lever, pulley, engine,
fossil, crystal, telescope, microscope, thermometer, satellite, circuit, pendulum, prism""")

# --- places -------------------------------------------------------------------------------------------

BUILDING = _words("""church, school, library, museum, castle, mill, factory, hospital, station, town hall,
theatre, cinema, market hall, bakery, bank, post office, lighthouse, tower, chapel, barn, warehouse, hotel,
inn, palace, cottage, temple, prison, swimming pool, concert hall, art gallery, brewery, observatory,
courthouse, windmill, bus station""")
TOWN_PLACE = _words("""park, square, market, bridge, harbour, station, fountain, garden, playground,
cemetery, car park, canal, river, zoo, stadium, university, crossroads, roundabout, promenade, old town,
pier""")
ROOM = _words("""kitchen, bedroom, bathroom, cellar, attic, hall, living room, dining room, study, garage,
workshop, pantry, nursery, office, corridor, balcony, porch, laundry""")
SHOP = _words("""bakery, bookshop, butcher's shop, flower shop, toy shop, shoe shop, grocery, hardware
store, chemist's, clothes shop, music shop, bicycle shop, furniture shop, second-hand shop, tea shop, cheese
shop, jeweller's, stationery shop, pet shop, antique shop, camera shop""")
VENUE = _words("""restaurant, cafe, pub, bistro, bar, tea room, diner, inn, coffee shop, pizzeria, canteen,
wine bar""")
AREA = _words("""by the river, in the city centre, near the harbour, on the market square, in the old town,
on the edge of town, beside the park, by the sea, in a quiet side street, next to the station, behind the
church, on the hill, opposite the town hall, near the university, in the northern suburbs, along the
canal""")
STREET = _words("Street, Road, Lane, Avenue, Square, Hill, Row, Way, Terrace, Gardens, Walk, Close")
COMPASS = _words("north, south, east, west, north-east, south-west, north-west, south-east")
GROUP = _words("""council, school board, fire service, museum, football club, choir, hospital, library,
drama society, chess club, farmers' union, railway company, sailing club, charity, history society,
orchestra""")
EVENT = _words("""concert, festival, market, fair, parade, exhibition, race, wedding, meeting, lecture,
dance, play, auction, picnic, fireworks display, flower show, book sale, film night, charity run, cookery
class, guided walk, chess tournament, poetry reading, garden party, open day, craft fair""")
PROJECT = _words("""bridge, library, swimming pool, school, playground, cycle path, bus line, hospital wing,
park, museum, market hall, railway station, sports hall, theatre, harbour wall, clock tower, car park, youth
club, windmill""")
GOODS = _words("""wool, salt, timber, coal, fish, glass, pottery, cloth, cheese, wine, paper, leather, iron,
grain, slate, silk, rope, honey, clocks, boats, furniture, carpets, beer, spices""")  # plural or uncountable

# --- judging ------------------------------------------------------------------------------------------

GOOD = _words("""good, great, excellent, wonderful, lovely, superb, fantastic, delightful, brilliant,
impressive, outstanding, charming, pleasant, splendid, marvellous, fine, perfect, remarkable, enjoyable,
first-rate""")
BAD = _words("""bad, terrible, awful, poor, dreadful, disappointing, horrible, mediocre, dull, unpleasant,
weak, lousy, shabby, disgraceful, useless, appalling, second-rate, hopeless, annoying, tiresome""")
NICE = _words("good, pleasant, charming, impressive, enjoyable, lovely, nice, agreeable, special")
GOOD_SERVICE = _words("""friendly, quick, polite, attentive, helpful, warm, cheerful, efficient, patient,
professional""")
BAD_SERVICE = _words("""rude, slow, careless, unfriendly, impatient, clumsy, bored, forgetful, arrogant,
unhelpful""")
GOOD_PLACE = _words("""cosy, clean, bright, comfortable, quiet, spacious, elegant, welcoming, warm,
charming, relaxed""")
BAD_PLACE = _words("""dirty, noisy, cramped, dark, cold, crowded, shabby, smelly, gloomy, draughty, dusty,
stuffy""")
GOOD_MAKE = _words("""sturdy, reliable, light, well made, easy to use, quiet, solid, durable, practical,
handy, compact""")
BAD_MAKE = _words("""flimsy, unreliable, heavy, badly made, hard to use, noisy, wobbly, fragile,
impractical, bulky""")
GOOD_ART = _words("""gripping, moving, funny, touching, original, clever, exciting, beautiful, thoughtful,
charming""")
BAD_ART = _words("boring, slow, confusing, predictable, silly, long-winded, shallow, dull, clumsy, tedious")
VERY = _words("""very, really, quite, extremely, rather, truly, surprisingly, remarkably, incredibly, so,
pretty""")
HOW = _words("""slowly, quickly, quietly, loudly, carefully, happily, sadly, angrily, gently, patiently,
proudly, nervously, calmly, eagerly, softly, firmly, kindly, bravely, cheerfully, silently, warmly""")
OFTEN = _words("""always, often, usually, sometimes, rarely, never, seldom, frequently, occasionally, hardly
ever""")
CAUSE = _words("""a fallen tree, a power cut, an old pipe, a candle, a broken signal, heavy rain, strong
winds, a gas leak, thick fog, a loose cable, a careless driver, icy roads, a burst dam, a lightning strike,
faulty brakes""")
DAMAGE = _words("""flooded cellars, broken windows, blocked roads, long delays, a blackout, damaged roofs,
closed schools, cancelled trains, a large fire, traffic jams, lost luggage, ruined crops, a collapsed wall,
cut telephone lines""")
PROBLEM = _words("""the roof leaked, the engine would not start, the key did not fit, the train was late,
the bread was burnt, the door was locked, the bridge was closed, the map was wrong, the shop was empty, the
lights went out, the road was flooded, the milk was sour, the rope broke, the phone was dead, the boat had a
hole, the money was gone, the ticket was missing, the stove was cold, the pump was frozen, the wheel came
off, the last bus had left""")
TRAVEL_PROBLEM = _words("""the road was flooded, the bridge was closed, the map was wrong, a tree lay across
the road, the signs had been turned round, the fog became too thick, the tickets were missing, the way was
blocked by sheep""")
LESSON = _words("""patience pays, a friend is worth more than gold, it is better to ask than to guess,
honesty saves trouble, small things matter, nobody is too small to help, haste makes waste, kindness comes
back, practice makes perfect, two heads are better than one, promises should be kept, sharing doubles joy,
pride comes before a fall, it is never too late to learn, good neighbours make good days""")
MORE = _words("""faster, slower, bigger, smaller, older, younger, taller, shorter, stronger, heavier,
lighter, louder, quieter, cleverer, braver, gentler, livelier""")

# --- time and number ----------------------------------------------------------------------------------

MONTH = _words("""January, February, March, April, May, June, July, August, September, October, November,
December""")
WEEKDAY = _words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
DAYTIME = _words("morning, afternoon, evening, night")
ONES = _words("""zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen,
fourteen, fifteen, sixteen, seventeen, eighteen, nineteen""")
TENS = _words("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety")
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
DOSE = _words("""a cup of, a spoonful of, a pinch of, a handful of, a little, 200 grams of, half a cup of,
100 grams of""")

GERMAN_ONES = _words("""null, eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf,
dreizehn, vierzehn, fünfzehn, sechzehn, siebzehn, achtzehn, neunzehn""")
GERMAN_TENS = _words("zwanzig, dreißig, vierzig, fünfzig, sechzig, siebzig, achtzig, neunzig")
GERMAN_MONTH = _words("""Januar, Februar, März, April, Mai, Juni, Juli, August, September, Oktober,
November, Dezember""")
GERMAN_WEEKDAY = _words("Montag, Dienstag, Mittwoch, Donnerstag, Freitag, Samstag, Sonntag")
FRENCH_ONES = _words("""zéro, un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze,
treize, quatorze, quinze, seize, dix-sept, dix-huit, dix-neuf""")
FRENCH_TENS = _words("vingt, trente, quarante, cinquante, soixante, soixante, quatre-vingt, quatre-vingt")
FRENCH_MONTH = _words("""janvier, février, mars, avril, mai, juin, juillet, août, septembre, octobre,
novembre, décembre""")
FRENCH_WEEKDAY = _words("lundi, mardi, mercredi, jeudi, vendredi, samedi, dimanche")

# --- the parts of invented names ----------------------------------------------------------------------

NAME_START = _words("""Al, An, Ar, Bar, Bel, Bran, Cal, Cor, Dal, Dar, El, Em, Fen, Fin, Gar, Hal, Il, Jor,
Kal, Kel, Lor, Lin, Mal, Mar, Nel, Or, Per, Ran, Ros, Sel, Tal, Tor, Ul, Val, Wil, Yor, Zan, Tam, Mir,
Bren""")
NAME_MIDDLE = _words("a, i, o, e, ami, eni, ani, ori, eli, iva, ola, uri")
WOMAN_END = _words("na, la, ra, ssa, lia, nda, tta, ria, nie, beth, dra, mine")
MAN_END = _words("n, r, s, rd, ck, dor, bert, las, mund, rik, win, ton")
PLACE_START = _words("""Alder, Ash, Birch, Black, Bram, Brook, Carn, Clay, Cold, Cran, Dun, East, Elm, Fair,
Fern, Fox, Glen, Gold, Green, Hart, Hazel, High, Holm, Horn, Kings, Lang, Linden, Long, Marsh, Mill, Moor,
Nether, North, Oak, Old, Over, Pem, Raven, Red, Rook, Rush, Salt, Sand, Shel, Silver, South, Stan, Stone,
Strat, Sutter, Swan, Thorn, Under, Wake, Wal, West, Whit, Willow, Winter, Wolf, Wren, Yarrow""")
PLACE_END = _words("""ford, bridge, ton, ham, mouth, field, stead, wick, bury, dale, worth, leigh, combe,
port, burn, well, bourne, gate, haven, mere, shaw, hurst, stow, minster, thorpe""")
SURNAME_END = _words("""man, son, well, ford, ley, worth, wood, ton, field, er, shaw, by, wick, more, land,
stone, brook, hurst, bank, marsh, smith, wright""")
RIVER_START = _words("""Av, Br, Cal, D, El, Fl, Gr, Is, K, L, Mer, N, Or, P, R, Sev, T, Ul, V, W, Y, Tr, St,
Cr""")
RIVER_END = _words("""on, ent, ey, une, ark, oth, idden, ine, ane, usk, arrow, elva, imble, ock, ale, onna,
esk, ydd""")
SIGN_ADJECTIVE = _words("""Copper, Golden, Silver, Red, Blue, Green, Old, Little, Crooked, Merry, Hungry,
Lazy, Iron, Velvet, Wooden, Jolly, Quiet, Laughing, Dancing, Sleepy, Lucky, Rusty, White, Black, Royal,
Hidden, Lonely, Salty, Painted, Broken, Bright, Flying, Wandering, Speckled, Amber, Crimson, Humble,
Thirsty, Proud, Secret""")
SIGN_NOUN = _words("""Lantern, Eagle, Anchor, Kettle, Fox, Lion, Swan, Barrel, Bell, Crown, Oak, Rose,
Whale, Wheel, Star, Moon, Harp, Heron, Plough, Ship, Spoon, Table, Teapot, Dragon, Stag, Otter, Owl, Pear,
Olive, Garden, Mill, Bridge, Compass, Candle, Feather, Goose, Hare, Horseshoe, Key, Lamb, Magpie, Mermaid,
Parrot, Pepper, Pigeon, Rabbit, Raven, Robin, Salmon, Tortoise""")
TITLE_NOUN = _words("""Night, Winter, River, Garden, House, Letter, Road, Island, Stranger, Clockmaker,
Harvest, Mirror, Silence, Promise, Journey, Shadow, Orchard, Captain, Storm, Lighthouse, Bride, Thief,
Winter, Sparrow, Mountain, Daughter, Emperor, Bridge, Fire, Echo""")
TRADE = _words("""Brothers, and Sons, Limited, Foods, Motors, Textiles, Bank, Books, Tools, Lines, Works,
Glass, Toys, Shoes, Systems, Farms, Paper, Electric, Travel, Press""")
