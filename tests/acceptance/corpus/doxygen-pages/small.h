/** \file
 * Small.
 */

/** Says nothing. */
void small(void);
