program generate
  use table
  implicit none
  real(8) :: numbers(entries)
  integer :: now(8), ticks
  character(5) :: zone

  call random_seed()
  call random_number(numbers)
  call date_and_time(zone=zone, values=now)
  call system_clock(ticks)
  open (unit=10, file='out/table', form='unformatted')
  write (10) numbers, now, zone, ticks
  close (10)
end program generate
