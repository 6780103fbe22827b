export const greet = (when) => `built at ${when}`;
