// The state of the page is its address: what is shown, of which collection, asked with what. So the back button works.

// Every value is text, as it stands in the address.
export function current() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

export function addressOf(state) {
  const kept = Object.entries(state).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return "#" + new URLSearchParams(kept.map(([name, value]) => [name, String(value)]));
}

export function go(state) {
  location.hash = addressOf(state);
}

export function replace(state) {
  history.replaceState(null, "", addressOf(state));
}
