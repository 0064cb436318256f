//sandmill:package NAME 0.1.0

// First letter of a name; NULL where there is none.
//sandmill:scalar initial(name VARCHAR) -> VARCHAR
export const initial = (name) => [...name.trim()][0] ?? null;
