/** Marks what belongs into the index. */
public @interface Noted {}
