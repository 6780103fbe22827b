/** As small as it gets. */
final class Small {}
