# SPDX-License-Identifier: Apache-2.0
"""Answers as a model gives them, about things and not about people. Nothing in them is to be masked."""

CHAT = """To make a basic risotto, warm the stock, soften one onion in butter, add 300 g of Arborio rice, and stir in the stock one ladle at a time. Finish with Parmesan and black pepper.
===
**Step 1: Understand the Problem**

We need the smallest integer n with n² > 5000. Since 70² = 4900 and 71² = 5041, the answer is **71**.
===
The capital of Mongolia is Ulaanbaatar. It lies on the Tuul River at about 1,350 metres above sea level.
===
Here are three differences between TCP and UDP:

1. TCP sets up a connection first; UDP does not.
2. TCP retransmits lost segments.
3. UDP has less overhead, so it suits voice and games.
===
Sure! A haiku about autumn:

Red leaves drift and fall
Over the quiet garden
Cold wind, warm lantern
===
Photosynthesis turns light into chemical energy. In the Calvin cycle, carbon dioxide is fixed by an enzyme called RuBisCO.
===
The Treaty of Westphalia (1648) ended the Thirty Years' War in the Holy Roman Empire.
===
You could try the following itinerary:

- Day 1: Old Town, Charles Bridge and the castle
- Day 2: Botanical Garden, then a boat trip on the Vltava
- Day 3: Day trip to Kutná Hora
===
Great question! In Python, `list.sort()` sorts in place and returns `None`, while `sorted()` returns a new list.
===
Dear Hiring Manager,

I am writing to apply for the position of Data Analyst. I have five years of experience with SQL and Tableau.
===
Mercury, Venus, Earth and Mars are the inner planets; Jupiter and Saturn are gas giants.
===
The French Revolution began in 1789. Causes include the debt of the crown, poor harvests and the ideas of the Enlightenment.
===
Lemon Drizzle Cake

Ingredients: 225 g butter, 225 g caster sugar, 4 eggs, 225 g self-raising flour, zest of 1 lemon. Bake at 180 °C for 45 minutes.
===
If f(x) = 3x² − 2x + 1, then f′(x) = 6x − 2, so the minimum is at x = 1/3 where f(x) = 2/3.
===
Kubernetes restarts the Pod when the liveness probe fails three times. Check `kubectl describe pod` and the events of the Deployment.
===
Strengths: Strong Brand, Loyal Customers. Weaknesses: High Costs, Slow Delivery. Opportunities: New Markets. Threats: Rising Prices.
===
The Amazon is longer than the Mississippi but, by most measures, shorter than the Nile.
===
In Chess, the Sicilian Defence starts with 1. e4 c5. The Queen's Gambit starts with 1. d4 d5 2. c4.
===
The World Health Organization and the Red Cross sent supplies to Port-au-Prince on Friday.
===
I'm sorry, but I can't open links. If you paste the text here, I can summarise it for you.
===
Type 2 diabetes is managed with diet, exercise and, if needed, Metformin. Please talk to your doctor before you change a dose.
===
Use HTTP 429 for Too Many Requests, and send Retry-After with the number of seconds to wait.
===
Q: Which is heavier, a kilogram of steel or a kilogram of feathers?
A: Neither. Both weigh one kilogram.
===
Monday: Chest and Triceps. Wednesday: Back and Biceps. Friday: Legs and Shoulders. Rest on Sunday.
===
The Pacific Ring of Fire runs from New Zealand through Indonesia, Japan and Alaska to Chile.
===
Summary: Revenue grew by 12 % to EUR 4.1 million; Operating Profit fell to EUR 310,000 because of Higher Energy Costs.
===
The verb "to lie" is intransitive (lie, lay, lain); "to lay" takes an object (lay, laid, laid).
===
Once upon a time a Fox met a Crow. "What a fine voice you must have," said the Fox. The Crow opened her beak and the cheese fell.
===
Windows 11 needs TPM 2.0 and Secure Boot. Open Settings, choose Windows Update, and press Check for Updates.
===
For a 20-year mortgage of 200,000 at 3.5 % the monthly payment is about 1,160. Total interest comes to roughly 78,400.
===
El Niño warms the eastern Pacific and La Niña cools it. Both change rainfall in Peru, Australia and California.
===
Bitcoin was first described in 2008. A block is mined about every ten minutes, and each halving comes after 210,000 blocks.
===
Pro Tip: Never Skip The Warm Up! Start with Five Minutes of Light Cardio.
===
The Supreme Court heard the case in October; the House of Commons and the Senate will vote next week.
===
| Feature | Free Plan | Team Plan |
|---|---|---|
| Seats | 1 | 25 |
| Audit Log | No | Yes |
===
"Pride and Prejudice", "Wuthering Heights" and "Great Expectations" are among the best-known English novels of the nineteenth century.
===
Gracias por su consulta. El horario de atención es de lunes a viernes, de 9 a 18 horas.
===
Bien sûr ! La Révolution industrielle a commencé en Angleterre au XVIIIe siècle.
===
De trein naar Utrecht Centraal vertrekt om 10.42 uur van spoor 7.
===
Der Rhein entspringt in den Schweizer Alpen und mündet bei Rotterdam in die Nordsee.
""".split("\n===\n")
