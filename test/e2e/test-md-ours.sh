#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that Linux takes our arrays for its own and we those that it has written to. Arrays of every
# level are made by md-make (lib/xbdev/raid on files): whole, degraded, amid a recovery, a resync or a
# replacement, and after a crash amid writes, or amid writes and a recovery. Linux assembles them, goes on with the recovery where we
# were, finds the content and no mismatch, and writes to them; the same members are assembled here again,
# hold all of it and are made whole. Arrays that Linux made and left degraded, recovering or dirty are
# continued by us, and Linux judges that.
#
# The short form has one array or two of every level, every state, and some layouts. XSAN_LONG=1: every
# layout that there is, in as many guests as it takes, and a last look at all of them by Linux.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/md_guest.sh"
test_begin
require mdadm mdadm
require zstd zstd
require_guest

MD_MAKE=${XSAN_BUILD:-$E2E_DIR/../../build}/test/e2e/md-make
[ -x "$MD_MAKE" ] || test_fail "$MD_MAKE is missing: build it, or set XSAN_BUILD"

readonly MEMBER_KIB=7168 IMAGES_MAX=127
# Where what is written while members are missing lies, and what a crash interrupts; Linux writes W_KIB
# at the end but W_FROM_END.
readonly D_FIRST=100 D_KIB=501 C_FIRST=201 C_KIB=2001 W_FROM_END=1503 W_KIB=1001

# LEVEL LAYOUT CHUNK_KIB MEMBERS STATE [BITMAP_CHUNK_BYTES, ppl or journal]. Every disk costs the guest half a second.
readonly SHORT="
linear - 0 2 plain
0 alternate 16 3 plain
1 - 0 2 recovering
1 - 0 2 dirty 65536
4 - 64 3 degraded
5 left-symmetric 512 3 whole
5 left-asymmetric 64 4 recovering
5 right-symmetric 4 3 dirty
5 left-symmetric 64 4 dirty 65536
5 left-symmetric 64 3 dirty-degraded
5 parity-first 16 4 replacing
5 left-asymmetric 64 4 dirty ppl
5 left-symmetric 16 5 dirty-degraded ppl
5 left-symmetric 64 4 dirty-recovering ppl
6 left-symmetric 64 5 dirty journal
6 left-symmetric 64 5 recovering
6 ddf-N-restart 16 5 degraded
6 left-symmetric-6 64 4 dirty
6 ddf-N-continue 16 4 half
10 near=2 64 5 recovering
10 far=2 16 4 degraded
10 offset=2 64 3 dirty
10 near=2 64 4 resyncing
"
# Only in the long form: a bitmap in the other states.
readonly BITMAPS="
1 - 0 3 whole default
1 - 0 3 degraded 65536
1 - 0 2 recovering 65536
4 - 64 3 dirty 65536
5 left-symmetric 64 4 degraded 65536
5 right-asymmetric 64 4 recovering default
6 left-symmetric 64 5 dirty 65536
6 right-symmetric 64 5 degraded 65536
6 left-symmetric 64 5 replacing 65536
10 near=2 64 4 dirty 65536
10 far=2 64 4 degraded 65536
10 offset=2 64 4 recovering 65536
"
# And a log; of a journal of ours Linux knows nothing.
readonly LOGS="
4 - 64 4 whole journal
4 - 16 3 dirty journal
6 ddf-N-restart 16 5 recovering journal
6 left-symmetric-6 512 5 degraded journal
5 left-symmetric 64 4 whole ppl
5 right-symmetric 64 4 degraded ppl
5 left-symmetric 64 4 recovering ppl
5 right-asymmetric 16 4 replacing ppl
5 parity-last 4 3 dirty ppl
5 parity-first 512 3 dirty-degraded ppl
5 right-asymmetric 16 4 dirty-recovering ppl
"

# Every layout in every state.
every_array() {
	local state layout

	echo "linear - 0 3 plain
		linear - 64 2 plain
		linear - 0 1 plain"
	for layout in original alternate; do
		echo "0 $layout 64 3 plain
			0 $layout 512 2 plain
			0 $layout 4 5 plain"
	done
	for state in whole degraded recovering dirty resyncing replacing dirty-degraded half; do
		[ $state = half ] || echo "4 - 64 4 $state"
		for layout in left-asymmetric right-asymmetric left-symmetric right-symmetric parity-first \
			parity-last; do
			[ $state = half ] || echo "5 $layout 64 4 $state"
			echo "6 $layout 64 5 $state"
		done
		for layout in ddf-zero-restart ddf-N-restart ddf-N-continue left-asymmetric-6 \
			right-asymmetric-6 left-symmetric-6 right-symmetric-6 parity-first-6; do
			echo "6 $layout 16 5 $state"
		done
		case $state in
		dirty-degraded | half) continue ;;
		esac
		echo "1 - 0 2 $state
			1 - 0 4 $state"
		for layout in near=2 near=3 far=2 far=3 offset=2 offset=3; do
			echo "10 $layout 64 4 $state
				10 $layout 16 5 $state"
		done
		echo "10 near=2,far=2 64 4 $state
			10 near=2 64 3 $state
			10 far=2 64 3 $state"
	done
}

# Arrays of Linux that are continued here and judged there: NAME, and the members that come back.
readonly CONTINUED_SHORT="
state-raid5-ppl-dirty
state-raid5-recovering
state-raid1-bitmap-readd 1
state-raid5-degraded-written 2
"
readonly CONTINUED_LONG="
state-raid6-two-failed 1 4
state-raid5-dirty
state-raid1-bitmap-dirty
state-raid1-resync-checkpoint
state-raid5-replacing
state-raid5-spare-stale
state-raid1-3-flags
state-raid5-ppl
tiny-raid5-3-bitmap
tiny-raid10-n2-4-bitmap
"

# Made by Linux while the test runs, left in this state: NAME STATE MEMBERS MDADM-OPTIONS.
readonly THEIRS="
their-raid1-recovering recovering 2 --level=1 --bitmap=none
their-raid1-bitmap degraded 2 --level=1 --bitmap=internal --bitmap-chunk=64K
their-raid5-recovering recovering 4 --level=5 --chunk=64 --bitmap=none
their-raid5-bitmap degraded 4 --level=5 --chunk=64 --bitmap=internal --bitmap-chunk=64K
their-raid5-ppl degraded 4 --level=5 --chunk=64 --consistency-policy=ppl
their-raid6-recovering recovering 5 --level=6 --chunk=16 --bitmap=none
their-raid6-n-restart degraded 5 --level=6 --chunk=64 --layout=ddf-N-restart --bitmap=none
their-raid10-recovering recovering 4 --level=10 --chunk=64 --layout=f2 --bitmap=none
their-raid10-bitmap degraded 5 --level=10 --chunk=64 --layout=n2 --bitmap=internal --bitmap-chunk=64K
"

# ---- content: SEED:START:END,… in KiB, ascending ----

# overlay CONTENT SEED FIRST KIB: the content with a range overwritten.
overlay() {
	local range seed start end first=$3 last=$(($3 + $4)) out=() is_in=

	for range in ${1//,/ }; do
		IFS=: read -r seed start end <<<"$range"
		[ "$start" -ge "$first" ] || out+=("$seed:$start:$((end < first ? end : first))")
		if [ -z "$is_in" ] && [ "$end" -gt "$first" ]; then
			out+=("$2:$first:$last")
			is_in=1
		fi
		[ "$end" -le "$last" ] || out+=("$seed:$((start > last ? start : last)):$end")
	done
	(
		IFS=,
		echo "${out[*]}"
	)
}

# verify_words CONTENT: the commands of md-make that verify it.
verify_words() {
	local range seed start end

	for range in ${1//,/ }; do
		IFS=: read -r seed start end <<<"$range"
		echo "verify $seed $start $((end - start))"
	done
}

# ---- making ----

# ours NAME COMMANDS...: md-make on the array's images; what it prints is in OUT. No word has blanks.
ours() {
	local name=$1 words

	shift
	read -r -a words <<<"${*//$'\n'/ }"
	OUT=$("$MD_MAKE" "$TEST_DIR/$name" "${words[@]}" 2>"$TEST_DIR/md-make.log") || {
		tail -n "$LOG_TAIL_LINES" "$TEST_DIR/md-make.log"
		test_fail "md-make $name $* failed"
	}
}

# each PREFIX "WORDS": the prefix before every word.
each() {
	local word

	for word in $2; do
		echo "$1 $word"
	done
}

# said WORD: the numbers behind it in OUT.
said() {
	sed -n "s/^$1 //p" <<<"$OUT"
}

# of_examine NAME IMAGE FIELD: mdadm's word on it.
of_examine() {
	mdadm --examine "$TEST_DIR/$1/m$2.img" 2>&1 | sed -n "s/^ *$3 : //p" | head -n 1
}

# examined NAME IMAGES: mdadm takes the superblocks for good ones and says the level.
examined() {
	local name=$1 i level=$2

	[ "$level" = linear ] || level=raid$level
	for ((i = 0; i < $3; i++)); do
		[[ $(of_examine "$name" "$i" Checksum) = *" - correct" ]] ||
			test_fail "mdadm does not like the superblock of m$i of $name"
		[ "$(of_examine "$name" "$i" 'Raid Level')" = "$level" ] ||
			test_fail "mdadm says another level of m$i of $name"
	done
}

# prepare NAME LEVEL LAYOUT CHUNK MEMBERS STATE BITMAP: makes it, and sets of it ACTION, FROM, DEGRADED, CHECK,
# SIZE, CONTENT, HOW; also FAILED, the images that serve no more, and IN_FLIGHT.
prepare() {
	local name=$1 level=$2 layout=$3 chunk=$4 members=$5 state=$6 bitmap=$7
	local i made whole fails spares=0 unequal_kib=100

	ACTION=idle FROM=0 DEGRADED=0 CHECK=yes HOW=- FAILED='' IN_FLIGHT=
	case $level in
	6) fails="0 2" ;;
	*) fails=1 ;;
	esac
	case $state in
	plain) unequal_kib=500 ;;
	recovering) spares=$(wc -w <<<"$fails") ;;
	replacing | half | dirty-recovering) spares=1 ;;
	esac
	mkdir -p "$TEST_DIR/$name"
	for ((i = 0; i < members + spares; i++)); do
		truncate -s "$((MEMBER_KIB + 1024 + i * unequal_kib))K" "$TEST_DIR/$name/m$i.img"
	done
	made="create $level $layout $chunk $members 0 $bitmap"
	whole="$made wait size write 1 0 rest"
	case $state in
	plain)
		ours "$name" "$made write 1 0 rest size stop"
		CHECK=none ACTION=none
		;;
	whole)
		ours "$name" "$whole check stop"
		[ "$(said mismatch)" = 0 ] || test_fail "$name: we find mismatches ourselves"
		;;
	resyncing)
		ours "$name" "$made pause size write 1 0 rest speed 2000 go until 700 stop"
		ACTION=resync
		;;
	dirty)
		ours "$name" "$whole crash 2 $C_FIRST $C_KIB"
		# What a bitmap leaves to be done is over in a moment; a log that was whole leaves nothing.
		ACTION=resync
		case $bitmap in
		none | journal) ;;
		*) ACTION=any ;;
		esac
		;;
	dirty-degraded)
		ours "$name" "$whole fail 1 crash 2 $C_FIRST $C_KIB"
		FAILED=1 CHECK=no
		if [ "$bitmap" = ppl ]; then
			# Linux takes a log for reason enough to start.
			ACTION=any
		else
			# mdadm has a raid6 repaired that it was forced to start with one parity too few.
			[ "$level" != 6 ] || ACTION=repair
			made=$OUT HOW=force
			ours "$name" "refuse cleanly all"
			OUT=$made
		fi
		;;
	dirty-recovering)
		# On both sides of where the recovery is. Beyond it the new member is named by no log.
		ours "$name" "$whole fail 1 speed 2000 add $members until 300 pause" \
			"crash 2 $C_FIRST $C_KIB"
		FAILED=1 ACTION=recover
		;;
	degraded)
		ours "$name" "$whole $(each fail "$fails") write 2 $D_FIRST $D_KIB stop"
		FAILED=$fails CHECK=no
		;;
	half)
		ours "$name" "$whole fail 0 fail 2 write 2 $D_FIRST $D_KIB speed 2000 add $members" \
			"until 700 stop"
		FAILED="0 2" ACTION=recover
		;;
	recovering)
		ours "$name" "$whole $(each fail "$fails") write 2 $D_FIRST $D_KIB pause speed 2000" \
			"$(each add "$(seq "$members" $((members + spares - 1)))") go until 700 stop"
		FAILED=$fails ACTION=recover
		;;
	replacing)
		ours "$name" "$whole speed 2000 replace 1 $members until 700 stop"
		ACTION=recover
		;;
	esac
	SIZE=$(said size)
	CONTENT=1:0:$SIZE
	case $state in
	dirty*)
		read -r i made < <(said crash)
		IN_FLIGHT="1 2 $i $((made - i))"
		CONTENT=1:0:$C_FIRST,2:$C_FIRST:$i,1:$made:$SIZE
		;;
	degraded | recovering | half) CONTENT=$(overlay "$CONTENT" 2 $D_FIRST $D_KIB) ;;
	esac
	case $state in
	degraded | dirty-degraded) DEGRADED=$(wc -w <<<"$FAILED") ;;
	resyncing) offset_of "$name" 0 resync ;;
	recovering | replacing) offset_of "$name" "$members" recovery ;;
	dirty-recovering) offset_of "$name" "$members" recovery ;;
	half)
		DEGRADED=1
		offset_of "$name" "$members" recovery
		;;
	esac
	case "$state $bitmap" in
	"dirty-degraded ppl" | "dirty-recovering ppl") marked "$name" ;;
	esac
	examined "$name" "$level" "$members"
}

# marked NAME: a log of it has our mark in bytes that Linux reserves, and which it must not mind; a degraded
# and dirty array that starts has been made whole by its logs.
marked() {
	grep -q -a XSANBSNT "$TEST_DIR/$1"/m*.img || test_fail "$1: no log has our mark"
}

# offset_of NAME IMAGE FIELD: FROM, of a superblock's resync_offset or recovery_offset, which must be amid
# the array.
offset_of() {
	local at=208 sectors

	[ "$3" = resync ] || at=152
	sectors=$(od -A n -t u8 -j $((4096 + at)) -N 8 "$TEST_DIR/$1/m$2.img" | tr -d ' ')
	[[ $sectors =~ ^[0-9]{1,9}$ && $sectors -gt 0 && $sectors -lt $((SIZE * 2)) ]] ||
		test_fail "m$2 of $1: its $3 is at sector $sectors, not amid the array"
	FROM=$((sectors / 2))
}

# ---- a guest with as many arrays as it takes ----

begin_guest() {
	BATCH=() NR_IMAGES=0
	: >"$TEST_DIR/judge"
	: >"$TEST_DIR/make"
	: >"$TEST_DIR/back"
}

# add_array NAME: as prepare() has made it.
add_array() {
	local first=$((SIZE - W_FROM_END))

	echo "$1 $ACTION $FROM $DEGRADED $CHECK $SIZE $CONTENT $first $W_KIB $HOW" >>"$TEST_DIR/judge"
	echo "$1|$DEGRADED|$CHECK|$(overlay "$CONTENT" 3 $first $W_KIB)|$FAILED|$IN_FLIGHT" \
		>>"$TEST_DIR/back"
	BATCH+=("$TEST_DIR/$1")
	NR_IMAGES=$((NR_IMAGES + $(find "$TEST_DIR/$1" -name '*.img' | wc -l)))
}

run_guest() {
	md_guest --file "$TEST_DIR/judge:/xsan/judge" --file "$TEST_DIR/make:/xsan/make" \
		--timeout 1100 "$E2E_DIR/guest/md-ours.sh" "${BATCH[@]}"
	[ "$(grep -c ': judged ' "$TEST_DIR/md-guest.log")" = "$(wc -l <"$TEST_DIR/judge")" ] ||
		test_fail "the guest did not judge all arrays"
	[ "$(grep -c ': made ' "$TEST_DIR/md-guest.log")" = "$(wc -l <"$TEST_DIR/make")" ] ||
		test_fail "the guest did not make all arrays"
}

# take_back NAME DEGRADED CHECK CONTENT FAILED IN_FLIGHT: what Linux has left is right, and made whole.
take_back() {
	local name=$1 degraded=$2 check=$3 content=$4 words

	words="assemble all degraded $degraded $(verify_words "$content")"
	[ -z "$6" ] || words+=" either $6"
	if [ "$degraded" -gt 0 ]; then
		words+=" $(each add "$(cut -d ' ' -f "-$degraded" <<<"$5")")"
	fi
	[ "$check" = none ] || words+=" wait check"
	ours "$name" "$words $(verify_words "$content") stop"
	[ "$check" = none ] || [ "$(said mismatch)" = 0 ] ||
		test_fail "$name: $(said mismatch) sectors do not agree after Linux had the array"
}

take_all_back() {
	local name degraded check content failed in_flight

	while IFS='|' read -r name degraded check content failed in_flight; do
		take_back "$name" "$degraded" "$check" "$content" "$failed" "$in_flight"
	done <"$TEST_DIR/back"
}

# Has what there is judged, takes it back, and begins anew.
end_guest() {
	local dir start_s=$SECONDS

	run_guest
	echo "a guest of $NR_IMAGES disks: $((SECONDS - start_s)) s"
	take_all_back
	for dir in "${BATCH[@]}"; do
		[[ $dir = */their-* ]] || rm -rf "$dir"
	done
	begin_guest
}

# ---- arrays of Linux ----

# fixture_content NAME: the CONTENT of an array of test/data/md, without what was in flight and the zeros.
fixture_content() {
	python3 - "$E2E_DIR/../data/md/manifest.json" "$1" <<'END'
import json
import sys

array = [a for a in json.load(open(sys.argv[1]))["arrays"] if a["name"] == sys.argv[2]][0]
content = array["content"]
seeds = [content["pattern_seed"]] * content.get("pattern_kib", array["array_bytes"] // 1024)
for kind in ("overwritten", "in_flight"):
    for part in content.get(kind, []):
        for kib in range(part["first_kib"], part["first_kib"] + part["kib"]):
            seeds[kib] = part["pattern_seed"] if kind == "overwritten" else None
ranges = []
for kib, seed in enumerate(seeds):
    if ranges and ranges[-1][0] == seed:
        ranges[-1][2] = kib + 1
    else:
        ranges.append([seed, kib, kib + 1])
print(",".join("%d:%d:%d" % tuple(r) for r in ranges if r[0] is not None))
END
}

# go_on NAME CONTENT IMAGES: an array that Linux left with this content is written to by us, the IMAGES
# come back, what is due is done, and it is whole.
go_on() {
	local name=$1 content=$2 words

	ours "$name" "assemble all size stop"
	SIZE=$(said size)
	CONTENT=$(overlay "$content" 4 $((SIZE / 4 + 1)) $((SIZE / 4 - 3)))
	words="assemble all $(verify_words "$content") write 4 $((SIZE / 4 + 1)) $((SIZE / 4 - 3))"
	words+=" $(each add "$3") $(verify_words "$CONTENT") wait check $(verify_words "$CONTENT") stop"
	ours "$name" "$words"
	[ "$(said mismatch)" = 0 ] || test_fail "$name: $(said mismatch) sectors do not agree"
}

# Has Linux make them, in the guest that comes next.
make_theirs() {
	local name state members options i spare

	while read -r name state members options; do
		[ -n "$name" ] || continue
		mkdir "$TEST_DIR/$name"
		spare=0
		[ "$state" != recovering ] || spare=1
		for ((i = 0; i < members + spare; i++)); do
			truncate -s $((MEMBER_KIB + 1024))K "$TEST_DIR/$name/m$i.img"
			NR_IMAGES=$((NR_IMAGES + 1))
		done
		echo "$name $state $members $options" >>"$TEST_DIR/make"
		BATCH+=("$TEST_DIR/$name")
	done <<<"$THEIRS"
}

continue_theirs() {
	local name state members options failed

	while read -r name state members options; do
		[ -n "$name" ] || continue
		failed=
		[ "$state" = recovering ] || failed=1
		ours "$name" "assemble all size stop"
		SIZE=$(said size)
		[ "$state" != recovering ] || offset_of "$name" "$members" recovery
		go_on "$name" "$(overlay "1:0:$SIZE" 2 100 1001)" "$failed"
		add_continued "$name"
	done <<<"$THEIRS"
}

# add_continued NAME: as go_on() has left it.
add_continued() {
	ACTION=idle FROM=0 DEGRADED=0 CHECK=yes HOW=- FAILED='' IN_FLIGHT=
	add_array "$1"
}

# ---- the test ----

arrays=$SHORT continued=$CONTINUED_SHORT
if [ -n "${XSAN_LONG:-}" ]; then
	arrays=$SHORT$BITMAPS$LOGS$(every_array) continued+=$CONTINUED_LONG
fi
count=0
begin_guest
while read -r name failed; do
	[ -n "$name" ] || continue
	md_fixture "$name" "$TEST_DIR"
	go_on "$name" "$(fixture_content "$name")" "$failed"
	add_continued "$name"
done <<<"$continued"
while read -r level layout chunk members state bitmap; do
	[ -n "$level" ] || continue
	name=md$count-$level-$state
	count=$((count + 1))
	[ $((NR_IMAGES + members + 2)) -le $IMAGES_MAX ] || end_guest
	prepare "$name" "$level" "$layout" "$chunk" "$members" "$state" "${bitmap:-none}"
	add_array "$name"
done <<<"$arrays"
end_guest
if [ -n "${XSAN_LONG:-}" ]; then
	make_theirs
	end_guest
	continue_theirs
	end_guest
fi
test_pass
