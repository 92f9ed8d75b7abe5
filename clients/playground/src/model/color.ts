/** Colours of values: a scale from orange over grey to blue, which people with any colour vision can tell apart. */

const STOPS: readonly [number, number, number][] = [
  [176, 72, 8],
  [216, 138, 70],
  [196, 198, 204],
  [98, 146, 214],
  [30, 82, 178],
];

/** The fill for a value from 0 to 1, and a text colour that is readable on it. */
export function colorsOf(value: number): { fill: string; text: string } {
  const place = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const low = STOPS[Math.floor(place)] ?? STOPS[0]!;
  const high = STOPS[Math.ceil(place)] ?? low;
  const mix = low.map((part, index) => Math.round(part + (high[index]! - part) * (place % 1)));
  const [red, green, blue] = mix as [number, number, number];
  const luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return { fill: `rgb(${mix.join(" ")})`, text: luminance > 0.21 ? "#14161a" : "#ffffff" };
}

function linear(part: number): number {
  const share = part / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}
