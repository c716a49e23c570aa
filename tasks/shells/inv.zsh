# Completes inv in zsh, as ./inv and path/to/inv too.
_localenv_inv() {
	local line value
	local -a found
	for line in "${(@f)$(LOCALENV_COMPLETES=zsh ${~words[1]} __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
		value=${line%%$'\t'*}
		[[ -n $value ]] || continue
		if [[ $value == ":files" ]]; then
			_files
			return
		fi
		found+=("${value//:/\\:}:${line#*$'\t'}")
	done
	_describe -V inv found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
compdef _localenv_inv inv
