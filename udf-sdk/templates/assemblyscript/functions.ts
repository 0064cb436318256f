import { none } from "./sandmill";

//sandmill:package NAME 0.1.0

// First letter of a name; NULL where there is none.
//sandmill:scalar initial(name VARCHAR) -> VARCHAR
export function initial(name: string): string {
  name = name.trim();
  return name.length == 0 ? none<string>() : String.fromCodePoint(name.codePointAt(0));
}
