export const table = Array.from({ length: 16 }, (_, i) => i * i);
export const unused = () => table.map(String);
