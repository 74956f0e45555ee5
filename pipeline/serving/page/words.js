// Answers in words that a visitor of a museum understands.

const SURE = [[0.95, "almost certainly"], [0.8, "very likely"], [0.5, "probably"], [0, "perhaps"]];

export function verdict(reply) {
  if (!reply.results.length) return "Nothing was found.";
  if (reply.instance === null) return "These photographs look most alike.";
  if (reply.known === false) return "This does not seem to be in the collection.";
  const [, how] = SURE.find(([least]) => (reply.sure ?? 0) >= least);
  return reply.sure === null ? `The nearest is ${reply.instance}.` : `This is ${how} ${reply.instance}.`;
}

export function details(reply) {
  if (!reply.results.length || reply.instance === null) return "";
  const said = [];
  if (reply.known === false) said.push(`The nearest that there is: ${reply.instance}.`);
  if (reply.known === null) said.push("Whether the collection has it at all is not known.");
  if (reply.sure !== null && reply.known !== false) said.push(`Of answers as sure as this one, ${Math.round(100 * reply.sure)} in 100 are right.`);
  if (reply.unknown_p !== null) said.push(`Of things that the collection does not have, ${chance(reply.unknown_p)} look as much alike.`);
  return said.join(" ");
}

function chance(share) {
  return share < 0.01 ? "fewer than 1 in 100" : `${Math.round(100 * share)} in 100`;
}

export function counted(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
