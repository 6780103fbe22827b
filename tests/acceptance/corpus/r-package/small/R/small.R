small <- function() 1
