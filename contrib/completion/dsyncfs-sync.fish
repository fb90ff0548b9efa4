# dsyncfs-sync.fish -- completion of dsyncfs-sync for fish.
# tests/interop/completion.sh holds it to what the program knows.

# The commands are those that --help lists, each with what it does.
function __dsyncfs_sync_commands
    dsyncfs-sync --help 2>/dev/null | sed -nE '/^Commands:/,/^$/s/^  ([a-z-]+)( [^ ]+)*  +(.*)/\1\t\3/p'
end

# The command on the line; nothing when there is none yet.
function __dsyncfs_sync_command
    set -l commands (__dsyncfs_sync_commands | string replace -r '\t.*' '')
    for w in (commandline -opc)[2..-1]
        if contains -- $w $commands
            echo $w
            return 0
        end
    end
    return 1
end

# Whether the line is for one of the commands $argv, or can still be.
function __dsyncfs_sync_for
    set -l command (__dsyncfs_sync_command)
    or return 0
    contains -- $command $argv
end

# Whether its argument is what is being written.
function __dsyncfs_sync_argument_of
    set -l command (__dsyncfs_sync_command)
    and contains -- $command $argv
end

function __dsyncfs_sync_json
    not __dsyncfs_sync_argument_of dump dsync-server init-config check-config
end

function __dsyncfs_sync_remotes
    set -l dir $XDG_CONFIG_HOME
    string match -q '/*' -- "$dir"
    or set dir $HOME/.config
    set -l f $dir/dsyncfs/dsyncfs.conf
    test -e $f
    or set f /etc/dsyncfs/dsyncfs.conf
    set -l words (commandline -opc)
    for i in (seq (count $words))
        contains -- $words[$i] -c --config
        and test $i -lt (count $words)
        and set f $words[(math $i + 1)]
    end
    sed -n 's/^[[:space:]]*remote[[:space:]]\{1,\}\([^[:space:]{]\{1,\}\)[[:space:]]*{.*/\1/p' $f 2>/dev/null | tr -d \"\'
end

function __dsyncfs_sync_keys
    dsyncfs-sync init-config - 2>/dev/null | sed -n 's/^#\([a-z_]*\) = .*/\1=/p'
end

complete -c dsyncfs-sync -f
complete -c dsyncfs-sync -n 'not __dsyncfs_sync_command >/dev/null' -a '(__dsyncfs_sync_commands)'
complete -c dsyncfs-sync -n '__dsyncfs_sync_argument_of mirror backup verify dump' -a '(__dsyncfs_sync_remotes)' -d Remote
complete -c dsyncfs-sync -n '__dsyncfs_sync_argument_of mirror backup verify dump' -a 'maildir: dsyncfs: tcp: tcps:'
complete -c dsyncfs-sync -n '__dsyncfs_sync_argument_of init-config check-config' -F

complete -c dsyncfs-sync -s c -l config -rF -d 'Configuration file'
complete -c dsyncfs-sync -s u -l user -xa '(__fish_complete_users)' -d 'Environment and mail of a user'
complete -c dsyncfs-sync -s o -l override -xa '(__dsyncfs_sync_keys)' -d 'Overrides a setting'
complete -c dsyncfs-sync -s D -l debug -d 'Says everything'
complete -c dsyncfs-sync -s v -l verbose -d 'Says more'
complete -c dsyncfs-sync -s l -l lock-timeout -x -d 'Waits for a busy store'
complete -c dsyncfs-sync -s T -l timeout -x -d 'Gives up on a silent far side'
complete -c dsyncfs-sync -n __dsyncfs_sync_json -l json -d 'One JSON object a line'
complete -c dsyncfs-sync -l progress -xa 'auto always never' -d 'Shows progress'
complete -c dsyncfs-sync -s h -l help -d Usage
complete -c dsyncfs-sync -s V -l version -d Version

set -l syncs '__dsyncfs_sync_for mirror backup flush'
complete -c dsyncfs-sync -n $syncs -s C -l alt-char -x -d 'Stands for what a mailbox name may not have'
complete -c dsyncfs-sync -n $syncs -s f -l full -d 'Compares everything'
complete -c dsyncfs-sync -n $syncs -s m -l mailbox -x -d 'Only this mailbox'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup flush restore' -s g -l guid -x -d 'Only what has this GUID'
complete -c dsyncfs-sync -n $syncs -s x -l exclude -x -d 'Not these mailboxes'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup flush restore' -s t -l since -x -d 'Only since then'
complete -c dsyncfs-sync -n $syncs -s e -l until -x -d 'Only mail received until then'
complete -c dsyncfs-sync -n $syncs -s O -l flag -x -d 'Only mail with a flag, or -FLAG without'
complete -c dsyncfs-sync -n $syncs -s I -l max-size -x -d 'Only mail up to a size'
complete -c dsyncfs-sync -n $syncs -l max-delete -x -d 'Stops when a mailbox would lose more'
complete -c dsyncfs-sync -n $syncs -l no-max-delete -d 'Never stops for that'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup flush verify' -l dry-run -d 'Says what would be done'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup flush dsync-server' -s r -l rawlog -rF -d 'Copies what goes over the wire'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror' -s 1 -l one-way -d 'Only adds to LOCATION2'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for backup' -s R -l reverse -d 'LOCATION2 is the source'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup' -s s -l state -x -d 'A state from outside'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup' -s A -l all-users -d 'For all users'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for mirror backup' -s F -l user-file -rF -d 'For the users in a file'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for flush' -l wait -d 'Returns when all is over there'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for dump' -l no-modseqs -d 'Without modification sequences'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for log' -l follow -d 'Goes on'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for log' -l from -x -d 'Begins there'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for log' -l cursor -d 'Says where to go on'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for restore' -l list -d 'Only lists'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for restore' -l uid -x -d 'These UIDs'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for restore' -l sync -d 'What the last sync expunged'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for verify' -l rebuild -d 'Makes the index anew'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for verify' -l repair -d 'Mends the store'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for check-config' -l no-connect -d 'Tries no remote'
complete -c dsyncfs-sync -n '__dsyncfs_sync_for dsync-server' -s U -l no-userdb-lookup -d 'Means nothing'
