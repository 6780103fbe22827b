module table
  implicit none
  integer, parameter :: entries = 16
end module table
