#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Completion as the shells themselves do it: keys are typed, and the line that they make is looked at.
# Runs where `zumastor` was built (or where $ZUMASTOR says); prints a line for each failure.
set -u
command -v zsh >/dev/null || { echo "no zsh"; exit 77; }
source=$(cd "$(dirname "$0")/../.." && pwd)
zumastor=${ZUMASTOR:-$PWD/zumastor}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/conf/volumes" "$dir/dev"
ln -s "$zumastor" "$dir/bin/zumastor"
touch "$dir/conf/volumes/"data.conf
printf '[Target backup:copy]\nPeriod=daily\n' >"$dir/conf/volumes/my-vol.conf"
touch "$dir/dev/"{data,data@17,my-vol,my-vol@3,my-vol@4}
export PATH=$dir/bin:$PATH ZUMASTOR_CONFDIR=$dir/conf ZUMASTOR_DEVDIR=$dir/dev

# LINE TAB -> what the line becomes.
cases=(
	'zumastor sna|zumastor snapshot '
	'zumastor def|zumastor define '
	'zumastor define sch|zumastor define schedule '
	'zumastor snapshot d|zumastor snapshot data '
	'zumastor status m|zumastor status my-vol '
	'zumastor define schedule m|zumastor define schedule my-vol '
	'zumastor delete data 1|zumastor delete data 17 '
	'zumastor status data 1|zumastor status data 17 '
	'zumastor delete my-vol |zumastor delete my-vol '
	'zumastor status --pro|zumastor status --prometheus '
	'zumastor define volume --init|zumastor define volume --initialize '
	'zumastor define ta|zumastor define target '
	'zumastor replicate m|zumastor replicate my-vol '
	'zumastor replicate my-vol ba|zumastor replicate my-vol backup:copy '
	'zumastor verify my-vol ba|zumastor verify my-vol backup:copy '
	'zumastor forget target my-vol ba|zumastor forget target my-vol backup:copy '
	'zumastor rest|zumastor restore '
	'zumastor restore /srv/deltas /dev/sdz --ta|zumastor restore /srv/deltas /dev/sdz --tag '
	'zumastor snapshot data --rotation w|zumastor snapshot data --rotation weekly '
)
failures=0
printf '%s\n' "${cases[@]%%|*}" >"$dir/lines"
export SOURCE=$source DIR=$dir LINE

# One shell for all lines; a key writes down what the line has become.
zsh -f <<-'END' >"$dir/out" 2>&1
	zmodload zsh/zpty
	zpty shell zsh -f -i
	answer() {
	  local i chunk
	  for i in {1..300}; do
	    while zpty -r -t shell chunk; do :; done
	    [[ -s $DIR/told ]] && { cat $DIR/told; rm $DIR/told; return }
	    sleep 0.1
	  done
	  print "no answer"
	}
	zpty -w shell "PS1= PROMPT_EOL_MARK=; unsetopt beep; fpath=($SOURCE/tools/completion/zsh \$fpath); autoload -Uz compinit; compinit -D -u"
	zpty -w shell 'tell() { print -r -- "$BUFFER" >$DIR/.told; mv $DIR/.told $DIR/told; BUFFER=; }; zle -N tell; bindkey "^G" tell'
	zpty -w shell 'print ready >$DIR/told'
	answer
	while IFS= read -r line; do
	  zpty -w -n shell "$line"$'\t\a'
	  answer
	done <$DIR/lines
END
mapfile -t answers < <(tail -n +2 "$dir/out")
for i in "${!cases[@]}"; do
	[ "${answers[i]-}" = "${cases[i]#*|}" ] ||
		{ echo "FAIL: zsh: '${cases[i]%%|*}' becomes '${answers[i]-}'"; failures=$((failures + 1)); }
done

# Bash: the function that it would call, with the words that it would have.
in_bash() {
	bash -c '. "$SOURCE/tools/completion/bash/zumastor"
		read -ra COMP_WORDS <<<"$LINE"
		[[ $LINE != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_zumastor
		printf "%s\n" "${COMPREPLY[@]}"'
}
for one in "${cases[@]}"; do
	LINE=${one%%|*}
	[[ $LINE != *' ' ]] || continue
	out=$(in_bash)
	[ "${LINE% *} $out " = "${one#*|}" ] || { echo "FAIL: bash: '$LINE' is offered '$out'"; failures=$((failures + 1)); }
done
LINE='zumastor delete my-vol '
[ "$(in_bash | paste -sd' ')" = '3 4' ] || { echo "FAIL: bash: tags are '$(in_bash)'"; failures=$((failures + 1)); }
exit $((failures > 0))
