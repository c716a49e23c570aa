# Completes inv in bash, as ./inv and path/to/inv too.
_localenv_inv() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		if [ "${line%%$'\t'*}" = ":files" ]; then
			compopt -o default 2>/dev/null
			COMPREPLY=()
			return
		fi
		COMPREPLY+=("${line%%$'\t'*}")
	done < <(LOCALENV_COMPLETES=bash "${COMP_WORDS[0]/#\~/$HOME}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _localenv_inv inv
