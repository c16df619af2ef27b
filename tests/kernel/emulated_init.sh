#!/bin/busybox sh
# The first process of an emulated machine: mounts the server and finds out facts about the mount.
# The kernel's command line says where and how: ram9=ADDRESS:PORT caches=A,B python=FILE, or none. One line
# for each fact is printed, between tabs: RAM9-FACT, its name, "true" or what went before.
/bin/busybox mkdir -p /proc /sys /dev /tmp /mnt/ram9 /mnt/tmpfs
/bin/busybox --install -s /bin
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /mnt/tmpfs
exec >/dev/console 2>&1

for module in $(cat /modules/order); do insmod "/modules/$module" || echo "no module $module"; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
told() {
  sed "s/.* $1=\([^ ]*\).*/\1/" /proc/cmdline
}
server=$(told ram9)
python=$(told python)
largest=300007
many=300
if [ "$python" = none ]; then # what is recorded stays small
  largest=20000
  many=60
fi

found() {
  printf 'RAM9-FACT\t%s\t%s\n' "$1" "$2"
}

# fact NAME FUNCTION: runs it below the mount; true if each command of it succeeds. It must not be
# part of a condition: there the shell does not heed set -e.
fact() {
  (cd /mnt/ram9; set -ex; "$2") >/tmp/said 2>&1
  if [ $? = 0 ]; then found "$1" true
  else found "$1" "$(tail -n 12 /tmp/said | tr '\n\t' '; ')"; fi
}

# refused COMMAND...: succeeds if the command fails (! does not count for set -e).
refused() {
  if "$@"; then return 1; fi
}

digest() {
  sha256sum "$1" | cut -d' ' -f1
}

written_files_read_back() {
  for size in 0 1 4095 4096 9000 $largest; do
    head -c $size /dev/urandom >/tmp/data
    cp /tmp/data file$size
    [ "$(digest file$size)" = "$(digest /tmp/data)" ]
    [ "$(stat -c %s file$size)" = $size ]
  done
}

names_change() {
  echo content >old
  mkdir folder
  mv old folder/new
  [ ! -e old ]
  ln folder/new hard
  [ "$(stat -c %h hard)" = 2 ]
  ln -s folder/new soft
  [ "$(cat soft)" = content ]
  [ "$(readlink soft)" = folder/new ]
  mv folder renamed
  [ "$(cat renamed/new)" = content ]
  rm hard
  [ "$(stat -c %h renamed/new)" = 1 ]
  refused rmdir renamed
  mkfifo fifo
  [ -p fifo ]
}

attributes_are_kept() {
  echo content >attributes
  setfattr -n user.colour -v green attributes
  [ "$(getfattr --only-values -n user.colour attributes)" = green ]
  setfattr -x user.colour attributes
  refused getfattr -n user.colour attributes
  chmod 4751 attributes
  [ "$(stat -c %a attributes)" = 4751 ]
  chown 12:34 attributes
  [ "$(stat -c %u:%g attributes)" = 12:34 ]
  touch -d '2001-02-03 04:05:06' attributes
  [ "$(stat -c %Y attributes)" = 981173106 ]
}

locks_exclude() {
  : >lock
  flock lock sleep 4 &
  sleep 1
  refused flock -n lock true
  wait
  flock -n lock true
}

listings_are_whole() {
  mkdir many
  i=0
  while [ $i -lt $many ]; do
    : >"many/$i a name that is long enough to need several requests for all of them"
    i=$((i + 1))
  done
  [ "$(ls many | wc -l)" = $many ]
  [ "$(ls many | sort -u | wc -l)" = $many ]
  rm -r many
  [ ! -e many ]
}

files_grow_and_shrink() {
  printf 12345 >sized
  printf 678 >>sized
  [ "$(cat sized)" = 12345678 ]
  truncate -s 3 sized
  [ "$(cat sized)" = 123 ]
  truncate -s 5000 sized
  [ "$(stat -c %s sized)" = 5000 ]
  [ "$(tr -d '\0' <sized)" = 123 ]
  printf x | dd of=sized bs=1 seek=100000 conv=notrunc
  [ "$(tr -d '\0' <sized)" = 123x ]
}

an_unlinked_file_lives_on() {
  echo still here >open
  exec 5<>open
  rm open
  [ "$(cat <&5)" = "still here" ]
  echo more >&5
  exec 5>&-
  [ ! -e open ]
}

df_knows_the_size() {
  [ "$(stat -f -c %t .)" = 1021997 ]
  df -k . | tail -n 1 | grep -q "65536 "
}

a_file_is_what_was_written_to_it() {
  if [ "$python" = none ]; then return; fi
  "$python" -I -S /exerciser.py exercised --seed 1 --count 700
}

a_mapped_file_is_what_was_written_to_it() {
  case "$python $cache $(uname -r)" in
    none*) return ;;
    *" none "*) mapping=read ;;
    # Before 6.4, what is mapped with cache=mmap is neither read by read(2) nor changed by write(2).
    *" mmap 5."* | *" mmap 6."[0-3].*) mapping=none ;;
    *) mapping=write ;;
  esac
  "$python" -I -S /exerciser.py mapped --seed 2 --count 700 --mapping $mapping
}

everything_is_removed() {
  rm -r ./*
  [ -z "$(ls -A .)" ]
}

for cache in $(told caches | tr , ' '); do
  mount -t 9p -o "trans=tcp,port=${server#*:},version=9p2000.L,cache=$cache" "${server%:*}" /mnt/ram9 ||
    found "it mounts with cache $cache" "$(dmesg | tail -n 3 | tr '\n\t' '; ')"
  for name in $(sed -n 's/^\([a-z_]*\)() {$/\1/p' /init | grep -v -x -e found -e fact -e refused -e digest -e told); do
    fact "$(echo "$name" | tr _ ' ') with cache $cache" "$name"
  done
  umount /mnt/ram9 || found "it unmounts with cache $cache" "umount: $?"
done
complaints=$(dmesg | grep -E '9p|netfs|WARNING|BUG|Oops|Call Trace' | grep -v Installing)
found "the kernel logs no complaint" "$(echo "${complaints:-true}" | tr '\n\t' '; ' | sed 's/;$//')"
found "the kernel is" "$(uname -r)"
poweroff -f
